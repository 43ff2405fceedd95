// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Bindings and instances: each slot is driven towards what the broker wants of it, one step per
// event.

#include <algorithm>

#include "executor/core/core.hpp"
#include "proto/limits.hpp"
#include "runtime/assert.hpp"

namespace flame::executor {

using proto::Code;
using State = Instance::State;

namespace {
constexpr int64_t kStartTimeoutUs = int64_t{proto::kStartTimeoutMs} * proto::kUsPerMs;
constexpr int64_t kStopGraceUs = int64_t{proto::kStopGraceMs} * proto::kUsPerMs;
constexpr int64_t kCancelGraceUs = int64_t{proto::kCancelGraceMs} * proto::kUsPerMs;
/// Small runs are handed over several at once, so that each does not cost a turn.
constexpr size_t kFramesInHandMax = 64;
/// Answers are gathered by the service for some ms; a task's time-out must not count the wait of
/// the one before.
constexpr int64_t kGatherSlackUs = 20 * proto::kUsPerMs;
/// Answers that come one by one wait so long for each other.
constexpr int64_t kGatherUs = 2 * proto::kUsPerMs;
}  // namespace

// ---- bindings
// -------------------------------------------------------------------------------------------------

void Core::want(Slot& slot, const proto::SlotBinding& binding) {
  bool same = slot.wanted == binding;
  if (same && slot.answer) return say(*slot.answer);  // the echo was lost
  if (same) return;
  auto before = slot.wanted.uid;
  slot.wanted = binding;
  slot.answer.reset();
  if (before == binding.uid) return advance(slot);

  wanted_slots_ += (binding.uid != 0) - (before != 0);
  if (wanted_slots_ == 0) idle_since_us_ = now_.mono_us;
  slot.backoff.reset();
  set_retry(slot, 0);
  Instance* in_it = instance(slot.instance);
  if (in_it != nullptr) uncount(*in_it);
  if (Session* next = session(binding.uid)) {
    next->wanted_slots++;
    if (in_it != nullptr && serves(*in_it, next)) count(*in_it, *next);
  }
  if (Session* last = session(before)) last->wanted_slots--;
  advance(slot);
}

void Core::forget_if_unwanted(proto::SessionUid uid) {
  Session* of = session(uid);
  if (of == nullptr || of->wanted_slots > 0) return;
  auto runs = of->queue.take_all();
  if (!runs.empty()) give_back(uid, Code::kOk, "", std::move(runs));
  sessions_.erase(uid);
}

void Core::answer(Slot& slot, Code code, const std::string& reason) {
  if (code == Code::kOk && slot.answer && slot.answer->code == Code::kOk) return;
  slot.answer = proto::Bound{slot.wanted, code, reason.substr(0, proto::kReasonBytesMax)};
  say(*slot.answer);
}

void Core::advance(Slot& slot) {
  Instance* in_it = instance(slot.instance);
  if (in_it != nullptr && in_it->state != State::kWarm) {
    if (in_it->state != State::kServing) return;  // its answer comes
    if (serves(*in_it, session(slot.wanted.uid))) return answer(slot, Code::kOk, "");
    if (in_it->frames.empty()) leave(*in_it);
    return;
  }
  if (slot.wanted.uid == 0) return answer(slot, Code::kOk, "");
  if (slot.retry_at_us != 0 || drain_ != Drain::kNo) return;
  Session* next = session(slot.wanted.uid);
  if (next == nullptr) {
    return answer(slot, Code::kNotFound, "the session's context did not come before its binding");
  }
  if (in_it != nullptr &&
      !(in_it->application == next->application && in_it->owner == next->owner)) {
    stop(*in_it);
    in_it = nullptr;
  }
  if (in_it == nullptr) in_it = warm_for(slot, *next);
  if (in_it == nullptr) in_it = &start(slot, *next);
  enter(*in_it, *next);
}

// The service does not start, or refuses the session: said at once, tried again after a while.
void Core::start_failed(Slot& slot, const std::string& reason) {
  note(true, "slot " + std::to_string(slot.number) + ": " + reason);
  set_retry(slot, now_.mono_us + slot.backoff.next_us());
  if (slot.wanted.uid == 0) return;
  answer(slot, Code::kTaskServiceFailed, reason);
  Session* of = session(slot.wanted.uid);
  if (of == nullptr || of->serving > 0 || of->queue.empty()) return;
  give_back(of->uid, Code::kTaskServiceFailed, reason, of->queue.take_all());
}

// ---- instances
// ----------------------------------------------------------------------------------------------

Instance* Core::warm_for(Slot& slot, const Session& session) {
  for (auto& other : slots_) {
    Instance* warm = instance(other.instance);
    if (warm == nullptr || warm->state != State::kWarm || other.wanted.uid != 0) continue;
    if (!(warm->application == session.application) || warm->owner != session.owner) continue;
    other.instance = 0;
    slot.instance = warm->id;
    warm->slot = slot.number;
    return warm;
  }
  return nullptr;
}

Instance& Core::start(Slot& slot, const Session& session) {
  auto fresh = std::make_unique<Instance>();
  fresh->id = slot.instance = ++last_instance_;
  fresh->slot = slot.number;
  fresh->application = session.application;
  fresh->owner = session.owner;
  out_->push_back(Start{fresh->id, session.application});
  auto& stored = instances_[fresh->id];
  stored = std::move(fresh);
  return *stored;
}

// It has entered this session, and nothing of its context has changed since.
bool Core::serves(const Instance& instance, const Session* session) const {
  return session != nullptr && instance.state == State::kServing && instance.uid == session->uid &&
         instance.context == session->context;
}

// What runs in them ends; then advance() lets them leave, and enter again or end.
void Core::renew_instances(Session& session) {
  for (auto& [id, instance] : instances_) {
    if (instance->uid == session.uid) uncount(*instance);
  }
}

void Core::enter(Instance& instance, const Session& session) {
  instance.state = State::kEntering;
  instance.uid = session.uid;
  instance.context = session.context;
  set_deadline(instance, now_.mono_us + kStartTimeoutUs);
  out_->push_back(
      Enter{instance.id, {session.name, session.application.name, session.common, session.uid}});
}

void Core::leave(Instance& instance) {
  instance.state = State::kLeaving;
  set_deadline(instance, now_.mono_us + kStopGraceUs);
  out_->push_back(Leave{instance.id});
}

// The slot is free at once; the process has stop_grace to end.
void Core::stop(Instance& instance) {
  uncount(instance);
  instance.state = State::kStopping;
  if (slots_[instance.slot].instance == instance.id) slots_[instance.slot].instance = 0;
  set_deadline(instance, now_.mono_us + kStopGraceUs);
  out_->push_back(Stop{instance.id});
}

void Core::kill(Instance& instance, Code code, std::string because) {
  instance.killed_code = code;
  instance.killed_because = std::move(because);
  out_->push_back(Kill{instance.id});
}

void Core::count(Instance& instance, Session& session) {
  if (instance.counted) return;
  instance.counted = true;
  session.serving++;
  instance.has_room() ? session.idle.push_back(instance.id) : offer_next(instance, session);
  touch(session);
}

void Core::uncount(Instance& instance) {
  if (!instance.counted) return;
  instance.counted = false;
  Session* of = session(instance.uid);
  if (of == nullptr) return;
  of->serving--;
  std::erase(of->idle, instance.id);
  std::erase(of->busy, instance.id);
  instance.may_have_next = false;
  touch(*of);
}

void Core::on_instance(Instance& instance, const shims::Entered& entered) {
  if (instance.state != State::kEntering) return;
  Slot& slot = slots_[instance.slot];
  set_deadline(instance, 0);
  if (!entered.ok) {
    bool wanted = slot.wanted.uid == instance.uid;
    std::string reason = "the service refuses the session: " + entered.message;
    stop(instance);
    return wanted ? start_failed(slot, reason) : advance(slot);
  }
  instance.state = State::kServing;
  instance.takes_next = entered.takes_next;
  Session* of = session(instance.uid);
  if (slot.wanted.uid == instance.uid && serves(instance, of)) count(instance, *of);
  advance(slot);
}

void Core::on_instance(Instance& instance, const shims::Left&) {
  if (instance.state != State::kLeaving) return;
  Slot& slot = slots_[instance.slot];
  set_deadline(instance, 0);
  instance.uid = 0;
  instance.state = State::kWarm;
  if (!instance.application.reuse) stop(instance);
  advance(slot);
}

void Core::on_instance(Instance& instance, const shims::Exited& exited) {
  Slot& slot = slots_[instance.slot];
  State state = instance.state;
  std::string reason = exited.reason;
  Code code = Code::kTaskCrashed;
  if (!instance.killed_because.empty()) {
    reason = instance.killed_because + "; " + reason;
    if (instance.killed_code == Code::kTaskTimeout) code = Code::kTaskTimeout;
    // Its cancelled tasks nobody wants back, and the others had no part in its end.
    if (instance.killed_code == Code::kTaskCancelled) code = Code::kOk, reason.clear();
  }
  if (!instance.frames.empty()) {
    std::vector<QueuedRun> lost, not_begun;
    for (auto& frame : instance.frames) {
      bool begun = not_begun.empty() && (lost.empty() || !frame.next);
      (begun ? lost : not_begun).push_back({frame.run, std::move(frame.ticket), {}});
    }
    give_back(instance.uid, code, reason, std::move(lost));
    if (!not_begun.empty()) give_back(instance.uid, Code::kOk, "", std::move(not_begun));
  }
  auto uid = instance.uid;
  bool cancelled = instance.killed_code == Code::kTaskCancelled;
  uncount(instance);
  set_deadline(instance, 0);
  if (slot.instance == instance.id) slot.instance = 0;
  instances_.erase(instance.id);  // `instance` ends here
  if (state == State::kStopping) return;
  if (state == State::kEntering && slot.wanted.uid == uid) return start_failed(slot, reason);
  if (state == State::kServing && !cancelled) {
    note(true, "slot " + std::to_string(slot.number) + ": " + reason);
    set_retry(slot, now_.mono_us + slot.backoff.next_us());
  }
  advance(slot);
}

// ---- tasks
// -------------------------------------------------------------------------------------------------

void Core::serve(Session& session) {
  while (!session.idle.empty() && !session.queue.empty() && drain_ == Drain::kNo &&
         results_.bytes() <= proto::kUnackedResultBytesMax) {
    if (session.application.concurrency > 1) {
      if (!hand_one(session)) return;
      continue;
    }
    // The last one to become idle first: its caches are warm. What is there is shared among all.
    uint64_t share = (session.queue.tasks() + session.idle.size() - 1) / session.idle.size();
    Instance* free = instance(session.idle.back());
    FLAME_ASSERT(free != nullptr && free->frames.empty());
    session.idle.pop_back();
    hand(*free, session, std::min(session.frame_tasks(), share));
  }
}

// To the one with the fewest tasks. False if the next task goes alone and nobody is empty: all wait
// for it then, so that somebody will be.
bool Core::hand_one(Session& session) {
  auto fewest = std::min_element(session.idle.begin(), session.idle.end(), [&](auto a, auto b) {
    return instance(a)->frames.size() < instance(b)->frames.size();
  });
  Instance* to = instance(*fewest);
  auto attempt = session.queue.front().ticket.attempt;
  if (attempt > 1 && !to->frames.empty()) return false;
  QueuedRun run = session.queue.take(1);
  if (to->frames.empty()) to->measured_from_us = now_.mono_us;
  out_->push_back(Invoke{to->id, {{run.run.first, 1, attempt, std::move(run.payload)}}});
  to->frames.push_back({std::move(run.ticket), run.run, {}, false, now_});
  if (!to->has_room()) session.idle.erase(fewest);
  set_task_deadline(*to);
  return true;
}

// Nobody is idle: a short task may as well wait in the service, which then need not wait for us.
void Core::serve_busy(Session& session) {
  if (!session.idle.empty() || !session.may_queue_in_service()) return;
  while (!session.busy.empty() && !session.queue.empty() && drain_ == Drain::kNo &&
         results_.bytes() <= proto::kUnackedResultBytesMax) {
    if (session.queue.front().ticket.attempt > 1) return;  // goes alone
    uint64_t share = (session.queue.tasks() + session.busy.size() - 1) / session.busy.size();
    Instance* busy = instance(session.busy.front());
    FLAME_ASSERT(busy != nullptr && !busy->frames.empty());
    session.busy.pop_front();
    busy->may_have_next = false;
    hand(*busy, session, std::min(session.frame_tasks(), share));
  }
}

// One that runs its only frame may have the next one behind it, if that one does not run alone.
void Core::offer_next(Instance& instance, Session& session) {
  if (!instance.takes_next || instance.has_next || instance.may_have_next) return;
  if (instance.frames.front().ticket.attempt > 1) return;
  instance.may_have_next = true;
  session.busy.push_back(instance.id);
}

void Core::hand(Instance& instance, Session& session, uint64_t tasks) {
  Invoke invoke{instance.id, {}};
  instance.has_next = !instance.frames.empty();
  while (tasks > 0 && !session.queue.empty() && instance.frames.size() < kFramesInHandMax) {
    // A task that was in hand when somebody died goes alone: it may be the reason.
    auto attempt = session.queue.front().ticket.attempt;
    if (attempt > 1 && !instance.frames.empty()) break;
    QueuedRun run = session.queue.take(attempt > 1 ? 1 : tasks);
    tasks -= run.run.count;
    invoke.frames.push_back({run.run.first, static_cast<uint32_t>(run.run.count), attempt,
                             std::move(run.payload), instance.has_next && invoke.frames.empty()});
    instance.frames.push_back(
        {std::move(run.ticket), run.run, {}, invoke.frames.back().next, now_});
    if (attempt > 1) break;
  }
  if (!instance.has_next) {
    instance.measured_from_us = now_.mono_us;
    offer_next(instance, session);
  }
  set_task_deadline(instance);
  out_->push_back(std::move(invoke));
}

void Core::on_instance(Instance& instance, const shims::Results& results) {
  auto at = std::find_if(instance.frames.begin(), instance.frames.end(), [&](const auto& frame) {
    return instance.concurrent() ? frame.run.first == results.first : true;
  });
  if (at == instance.frames.end()) return;
  auto& frame = *at;
  if (results.first != frame.run.first || results.count > frame.run.count) return;
  keep_answer(instance, frame, results);
  if (instance.answered_tasks == 0) progressed_.push_back(instance.id);
  instance.answered_tasks += results.count;
  instance.answered_bytes += results.elements.size();
  instance.answered_us += static_cast<int64_t>(results.service_us);
  Slot& slot = slots_[instance.slot];
  slot.backoff.reset();
  frame.run = {frame.run.first + results.count, frame.run.count - results.count};
  bool answered = frame.run.empty();
  if (answered) instance.frames.erase(at);
  if (instance.concurrent()) return answered_one(instance);
  if (!instance.frames.empty()) instance.frames.front().began = now_;
  bool begins_next = answered && !instance.frames.empty() && instance.frames.front().next;
  if (begins_next) instance.has_next = false;
  if (instance.state == State::kServing) set_task_deadline(instance);
  if (!instance.frames.empty() && !begins_next) return;
  if (!instance.counted) return instance.frames.empty() ? advance(slot) : void();
  Session* of = session(instance.uid);
  FLAME_ASSERT(of != nullptr);
  touch(*of);
  if (begins_next) return offer_next(instance, *of);
  std::erase(of->busy, instance.id);
  instance.may_have_next = false;
  of->idle.push_back(instance.id);
}

void Core::answered_one(Instance& instance) {
  if (instance.state == State::kServing) set_task_deadline(instance);
  if (!instance.counted) {
    return instance.frames.empty() ? advance(slots_[instance.slot]) : void();
  }
  Session* of = session(instance.uid);
  FLAME_ASSERT(of != nullptr);
  touch(*of);
  bool listed = std::find(of->idle.begin(), of->idle.end(), instance.id) != of->idle.end();
  if (!listed && instance.has_room()) of->idle.push_back(instance.id);
}

void Core::keep_answer(const Instance& instance, const HandedFrame& frame,
                       const shims::Results& results) {
  // Not the wall's time: a clock that is set meanwhile would make the tasks take hours.
  int64_t took_us = now_.mono_us - frame.began.mono_us;
  Answer answer{instance.uid,        {results.first, results.count}, frame.ticket,
                frame.began.wall_us, frame.began.wall_us + took_us,  {},
                results.elements};
  for (const auto& failure : results.failures) {
    answer.exceptions.push_back({results.first + failure.index, failure.code,
                                 failure.reason.substr(0, proto::kReasonBytesMax)});
  }
  results_.add(std::move(answer));
  int64_t gather_us = gathered_here(instance) ? kGatherUs : 0;
  results_due_us_ = std::min(results_due_us_, now_.mono_us + gather_us);
  if (frame.cancelled.empty()) return;
  std::vector<proto::Run> ended;
  for (const auto& run : frame.cancelled) {
    results_.forget(instance.uid, run);
    auto common = run.intersect({results.first, results.count});
    if (!common.empty()) ended.push_back(common);
  }
  say_cancelled(instance.uid, ended);
}

void Core::on_instance(Instance& instance, const shims::Progressed& progress) {
  bool runs = std::any_of(instance.frames.begin(), instance.frames.end(),
                          [&](const auto& frame) { return frame.run.contains(progress.task); });
  if (!runs) return;
  reports_[instance.uid][progress.task] = {progress.task, std::min<uint64_t>(progress.percent, 100),
                                           progress.text};
}

// The parts of `run` that services have: they are told, and go on until they obey or are killed.
std::vector<proto::Run> Core::cancel_in_hand(proto::SessionUid uid, const proto::Run& run) {
  std::vector<proto::Run> found;
  for (auto& [id, holder] : instances_) {
    if (holder->uid != uid) continue;
    for (auto& frame : holder->frames) {
      auto common = frame.run.intersect(run);
      if (common.empty()) continue;
      found.push_back(common);
      bool told = std::any_of(frame.cancelled.begin(), frame.cancelled.end(),
                              [&](const proto::Run& before) { return before.contains(common); });
      if (told) continue;
      frame.cancelled.push_back(common);
      out_->push_back(Cancel{id, common});
    }
    if (holder->state == State::kServing) set_task_deadline(*holder);
  }
  return found;
}

void Core::say_cancelled(proto::SessionUid uid, const std::vector<proto::Run>& runs) {
  if (runs.empty()) return;
  proto::Returned ended{uid, Code::kTaskCancelled, "", {}};
  for (const auto& run : runs) ended.runs.push_back({uid, run, {}});
  say(std::move(ended));
}

// ---- time
// -------------------------------------------------------------------------------------------------

void Core::set_deadline(Instance& instance, int64_t at_us) {
  if (instance.deadline_us == at_us) return;
  if (instance.deadline_us != 0) deadlines_.erase({instance.deadline_us, false, instance.id});
  instance.deadline_us = at_us;
  if (at_us != 0) deadlines_.insert({at_us, false, instance.id});
}

void Core::set_retry(Slot& slot, int64_t at_us) {
  if (slot.retry_at_us != 0) deadlines_.erase({slot.retry_at_us, true, slot.number});
  slot.retry_at_us = at_us;
  if (at_us != 0) deadlines_.insert({at_us, true, slot.number});
}

void Core::set_task_deadline(Instance& instance) {
  if (instance.frames.empty()) {
    instance.cancel_by_us = 0;
    return set_deadline(instance, 0);
  }
  const auto& frames = instance.frames;
  const auto& front = frames.front();
  int64_t at = 0;
  auto timeout_us = static_cast<int64_t>(instance.application.task_timeout_ms) * proto::kUsPerMs;
  if (timeout_us > 0) {
    bool alone = front.run.count == 1 && (frames.size() == 1 || frames[1].next);
    // Concurrent ones begin in the order of their frames: the front is the oldest.
    at = front.began.mono_us + timeout_us + (alone || instance.concurrent() ? 0 : kGatherSlackUs);
  }
  auto running_is_cancelled = [](const HandedFrame& frame) {
    return std::any_of(frame.cancelled.begin(), frame.cancelled.end(),
                       [&](const proto::Run& run) { return run.contains(frame.run.first); });
  };
  bool cancelled = instance.concurrent()
                       ? std::any_of(frames.begin(), frames.end(), running_is_cancelled)
                       : running_is_cancelled(front);
  if (!cancelled) {
    instance.cancel_by_us = 0;
  } else {
    if (instance.cancel_by_us == 0) instance.cancel_by_us = now_.mono_us + kCancelGraceUs;
    at = at == 0 ? instance.cancel_by_us : std::min(at, instance.cancel_by_us);
  }
  set_deadline(instance, at);
}

}  // namespace flame::executor

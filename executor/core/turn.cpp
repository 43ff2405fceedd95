// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// The end of a turn: deadlines, and everything that is said to the broker.

#include <algorithm>

#include "executor/core/core.hpp"
#include "proto/limits.hpp"
#include "proto/progress.hpp"

namespace flame::executor {

namespace {
/// How long a draining executor waits for its last results to be recorded.
constexpr int64_t kRecordWaitUs = 5 * proto::kUsPerSecond;
/// Runs listed in a hello: at most 80 bytes each, within header_bytes_max. Unstarted ones beyond it
/// are dropped, which gives them back: what is not listed is not here.
constexpr size_t kHandRunsMax = 2000;
}  // namespace

void Core::fire_deadlines() {
  while (!deadlines_.empty() && std::get<0>(*deadlines_.begin()) <= now_.mono_us) {
    auto [at, of_slot, id] = *deadlines_.begin();
    if (of_slot) {
      set_retry(slots_[id], 0);
      advance(slots_[id]);
      continue;
    }
    Instance* late = instance(id);
    if (late == nullptr) {
      deadlines_.erase(deadlines_.begin());
      continue;
    }
    set_deadline(*late, 0);
    switch (late->state) {
      case Instance::State::kEntering:
        kill(*late, proto::Code::kTaskServiceFailed,
             "the service did not enter the session within " +
                 std::to_string(proto::kStartTimeoutMs / 1000) + " s");
        break;
      case Instance::State::kServing:
        if (late->cancel_by_us != 0 && late->cancel_by_us <= now_.mono_us) {
          kill(*late, proto::Code::kTaskCancelled,
               "the task was cancelled and went on for " +
                   std::to_string(proto::kCancelGraceMs / 1000) + " s");
          break;
        }
        kill(*late, proto::Code::kTaskTimeout,
             "the task ran longer than its task_timeout of " +
                 std::to_string(late->application.task_timeout_ms) + " ms");
        break;
      case Instance::State::kLeaving:
      case Instance::State::kWarm:
      case Instance::State::kStopping:
        kill(*late, proto::Code::kOk, "");
        break;
    }
  }
}

// Once per turn and instance: several answers of one turn share the time since the last. The
// service's own clock is better than ours, which counts the wait for a core as well: on a busy
// machine that would make frames shorter, their share of waiting larger, and so on down to single
// tasks.
void Core::measure_progress() {
  for (auto id : progressed_) {
    Instance* from = instance(id);
    if (from == nullptr || from->answered_tasks == 0) continue;
    if (Session* of = session(from->uid)) {
      int64_t us = now_.mono_us - from->measured_from_us;
      if (from->answered_us > 0) us = std::min(us, from->answered_us);
      of->measure(from->answered_tasks, us, from->answered_bytes);
      touch(*of);
    }
    from->measured_from_us = now_.mono_us;
    from->answered_tasks = from->answered_bytes = 0;
    from->answered_us = 0;
  }
  progressed_.clear();
}

// Only those that are gathered: there are no others while results wait.
bool Core::more_answers_come() const {
  return std::any_of(instances_.begin(), instances_.end(), [](const auto& entry) {
    return gathered_here(*entry.second) && !entry.second->frames.empty();
  });
}

// A message for each task of a fraction of a millisecond would cost the broker more than the task.
void Core::send_results() {
  if (now_.mono_us < results_due_us_ && more_answers_come()) return;
  results_due_us_ = INT64_MAX;
  auto messages = results_.flush();
  if (!link_.up()) return;  // they are kept, and said after the next welcome
  for (auto& message : messages) send_result(std::move(message));
}

void Core::send_result(proto::TaskResults message) {
  if (Session* of = session(message.uid)) {
    of->told = of->window(drain_ != Drain::kNo);
    message.window_tasks = of->told.tasks;
    message.window_bytes = of->told.bytes;
  }
  out_->push_back(Send{link_.next(), std::move(message)});
}

void Core::send_windows() {
  proto::Window changed;
  for (auto uid : touched_) {
    Session* of = session(uid);
    if (of == nullptr) continue;
    of->touched = false;
    // Unsaid, it must stay different from what the hello on its way told; the welcome looks again.
    if (!link_.up()) continue;
    auto window = of->window(drain_ != Drain::kNo);
    if (!of->window_changed(window)) continue;
    of->told = window;
    changed.windows.push_back(window);
  }
  if (!changed.windows.empty()) say(std::move(changed));
}

void Core::send_progress() {
  if (reports_.empty() || now_.mono_us < reports_due_us_) return;
  reports_due_us_ = now_.mono_us + int64_t{proto::kProgressMs} * proto::kUsPerMs;
  for (auto& [uid, by_task] : std::exchange(reports_, {})) {
    std::vector<proto::ProgressReport> reports;
    for (auto& [task, report] : by_task) reports.push_back(std::move(report));
    for (auto& message : proto::in_messages<proto::TaskProgress>(uid, std::move(reports)))
      say(std::move(message));
  }
}

void Core::send_outgoing() {
  if (link_.up()) {
    for (auto& message : outgoing_) out_->push_back(Send{link_.next(), std::move(message)});
  }
  outgoing_.clear();
}

void Core::send_beat() {
  auto busy = std::count_if(instances_.begin(), instances_.end(),
                            [](const auto& entry) { return !entry.second->frames.empty(); });
  say(proto::Beat{static_cast<uint64_t>(busy), 0});
}

void Core::give_back(proto::SessionUid uid, proto::Code code, const std::string& reason,
                     std::vector<QueuedRun> runs) {
  proto::Returned returned{uid, code, reason.substr(0, proto::kReasonBytesMax), {}};
  for (auto& run : runs) returned.runs.push_back({uid, run.run, std::move(run.ticket)});
  bool charged = code == proto::Code::kTaskCrashed || code == proto::Code::kTaskTimeout;
  if (link_.up()) {
    say(std::move(returned));
  } else if (charged || link_.greeting()) {
    // The hello on its way lists them as in hand.
    unsaid_.push_back(std::move(returned));
  }  // else: what the next hello does not list is given back by that
}

void Core::send_hello() {
  proto::ExecutorHello hello;
  hello.cluster = config_.cluster;
  hello.executor = config_.id;
  hello.nonce = config_.nonce;
  hello.application = config_.application;
  hello.slots = config_.slots;
  hello.address = config_.address;
  hello.version = config_.version;
  hello.provider = config_.provider;
  // What a slot is on its way to, not where it was: a broker that only knows this must not believe
  // the old one.
  for (const auto& slot : slots_) {
    if (slot.wanted.generation > 0) hello.bindings.push_back(slot.wanted);
  }
  results_.list(hello.hand);
  for (const auto& [id, holder] : instances_) {
    for (const auto& frame : holder->frames) {
      hello.hand.push_back({holder->uid, frame.run, frame.ticket});
    }
  }
  for (const auto& returned : unsaid_) {
    hello.hand.insert(hello.hand.end(), returned.runs.begin(), returned.runs.end());
  }
  if (hello.hand.size() > kHandRunsMax) hello.hand.resize(kHandRunsMax);
  for (auto& [uid, of] : sessions_) {
    hello.contexts.push_back({uid, of->context});
    of->told = of->window(drain_ != Drain::kNo);
    hello.windows.push_back(of->told);
    while (hello.hand.size() + of->queue.runs().size() > kHandRunsMax && !of->queue.empty()) {
      of->queue.drop_last();
    }
    for (const auto& run : of->queue.runs()) hello.hand.push_back({uid, run.run, run.ticket});
  }
  out_->push_back(Send{link_.next(), std::move(hello)});
}

// ---- leaving
// ------------------------------------------------------------------------------------------------

void Core::begin_drain(const std::string& reason) {
  drain_ = Drain::kFinishing;
  note(false, "draining: " + reason);
  say(proto::Draining{reason});
  for (auto& [uid, of] : sessions_) {
    touch(*of);
    auto runs = of->queue.take_all();
    if (!runs.empty()) give_back(uid, proto::Code::kOk, "", std::move(runs));
  }
}

bool Core::nothing_in_hand() const {
  return results_.empty() &&
         std::all_of(instances_.begin(), instances_.end(),
                     [](const auto& entry) { return entry.second->frames.empty(); }) &&
         std::all_of(sessions_.begin(), sessions_.end(),
                     [](const auto& entry) { return entry.second->queue.empty(); });
}

void Core::step_drain() {
  if (drain_ == Drain::kFinishing &&
      std::all_of(instances_.begin(), instances_.end(),
                  [](const auto& entry) { return entry.second->frames.empty(); })) {
    drain_ = Drain::kRecording;
    drain_until_us_ = now_.mono_us + kRecordWaitUs;
  }
  if (drain_ == Drain::kRecording && (results_.empty() || now_.mono_us >= drain_until_us_)) {
    drain_ = Drain::kStopping;
    if (!results_.empty()) note(true, "leaving with results that the broker has not recorded");
    say(proto::Bye{"stopped"});
    for (auto& [id, running] : instances_) {
      if (running->state != Instance::State::kStopping) stop(*running);
    }
  }
  if (drain_ == Drain::kStopping && instances_.empty()) {
    send_outgoing();  // the Bye, if it was said in this turn
    out_->push_back(Exit{0});
  }
}

}  // namespace flame::executor

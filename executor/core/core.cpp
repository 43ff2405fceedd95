// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "executor/core/core.hpp"

#include <algorithm>

#include "proto/elements.hpp"
#include "proto/limits.hpp"
#include "proto/run_list.hpp"
#include "proto/text.hpp"
#include "runtime/assert.hpp"

namespace flame::executor {

Core::Core(Config config, const proto::Now& now)
    : config_(std::move(config)),
      link_(config_.first_link, now),
      slots_(config_.slots),
      idle_since_us_(now.mono_us) {
  for (size_t i = 0; i < slots_.size(); i++) slots_[i].number = slots_[i].wanted.slot = i;
}

void Core::on(const Event& event, const proto::Now& now, Actions& out) {
  now_ = now;
  out_ = &out;
  std::visit([this](const auto& e) { handle(e); }, event);
  out_ = nullptr;
}

int64_t Core::next_deadline_us() const {
  if (!outgoing_.empty()) return now_.mono_us;  // something was said after the turn's end
  int64_t next = drain_ == Drain::kStopping ? INT64_MAX : link_.next_deadline_us();
  if (!deadlines_.empty()) next = std::min(next, std::get<0>(*deadlines_.begin()));
  next = std::min(next, results_due_us_);
  if (drain_ == Drain::kRecording) next = std::min(next, drain_until_us_);
  if (!reports_.empty()) next = std::min(next, reports_due_us_);
  if (config_.idle_exit_us > 0 && wanted_slots_ == 0 && drain_ == Drain::kNo) {
    next = std::min(next, idle_since_us_ + config_.idle_exit_us);
  }
  return next;
}

Session* Core::session(proto::SessionUid uid) {
  auto found = sessions_.find(uid);
  return found == sessions_.end() ? nullptr : found->second.get();
}

Instance* Core::instance(InstanceId id) {
  auto found = instances_.find(id);
  return found == instances_.end() ? nullptr : found->second.get();
}

void Core::touch(Session& session) {
  if (session.touched) return;
  session.touched = true;
  touched_.push_back(session.uid);
}

// ---- the broker's words
// -------------------------------------------------------------------------------------

void Core::handle(const Received& received) {
  if (drain_ == Drain::kStopping) return;
  auto heard = link_.hear(received.envelope, proto::type_of(received.message), now_);
  if (heard == BrokerLink::Heard::kDrop) return;
  std::visit([this](const auto& message) { on_message(message); }, received.message);
}

void Core::handle(const SendRefused&) { link_.lost(now_); }

template <class Other>
void Core::on_message(const Other&) {
  note(true, "the broker sent " + std::string(proto::name_of(Other::kType)) +
                 ", which is no message to an executor");
}

void Core::on_message(const proto::Beat& message) { link_.idle_beat(message.idle_ms, now_); }

void Core::on_message(const proto::Resync& message) {
  note(true, "the broker asks for a new hello: " + proto::printable(message.reason));
  link_.lost(now_);
}

void Core::on_message(const proto::ErrorReply& message) {
  std::string text = std::string(proto::name_of(message.code)) + ": " + message.message;
  if (link_.up()) return note(true, "the broker refuses a message: " + proto::printable(text));
  if (text != refusal_) note(true, "the broker refuses this executor: " + proto::printable(text));
  refusal_ = text;
  link_.refused(message.retry_after_ms, now_);
}

void Core::on_message(const proto::ExecutorWelcome& message) {
  if (!newest_epoch_.accept(message.lineage, message.epoch)) {
    note(true, "a broker that was replaced answered, epoch " + proto::printable(message.epoch));
    out_->push_back(Reconnect{});
    return link_.lost(now_);
  }
  link_.welcome(message.beat_ms, message.lease_ms, now_);
  broker_ = message;
  refusal_.clear();
  note(false, "registered at broker " + proto::printable(message.version) + ", cluster " +
                  proto::printable(message.cluster) + ", epoch " + proto::printable(message.epoch));
  if (drain_ != Drain::kNo) say(proto::Draining{"the executor is being stopped"});
  for (auto& kept : results_.unrecorded()) send_result(std::move(kept));
  for (auto& returned : unsaid_) say(std::move(returned));
  unsaid_.clear();
  for (auto& [uid, known] : sessions_) touch(*known);  // windows may have changed since the hello
}

void Core::on_message(const proto::SessionContext& message) {
  auto application = proto::application_from(message.application);
  if (!application) {
    return note(true, "the broker sent an application that this version cannot read: " +
                          proto::printable(application.error().message));
  }
  auto& session = sessions_[message.uid];
  if (session == nullptr) {
    session = std::make_unique<Session>();
    session->uid = message.uid;
    session->prior = &priors_[application->name];
    session->run_time = *session->prior;
    for (const auto& slot : slots_) session->wanted_slots += slot.wanted.uid == message.uid;
  }
  bool renewed = session->context != 0 && session->context != message.version;
  session->name = message.session;
  session->owner = message.owner;
  session->application = std::move(*application);
  session->common = message.payload;
  session->context = message.version;
  if (renewed) renew_instances(*session);
  if (session->wanted_slots == 0) return;
  for (auto& slot : slots_) {
    if (slot.wanted.uid != message.uid) continue;
    if (renewed) slot.backoff.reset(), set_retry(slot, 0);  // perhaps it starts now
    advance(slot);                                          // a binding that came before it
  }
}

void Core::on_message(const proto::Bind& message) {
  // Left only once all are read: a session may move to another slot in the same message.
  std::vector<proto::SessionUid> left;
  for (const auto& binding : message.bindings) {
    if (binding.slot >= slots_.size()) {
      note(true, "the broker bound slot " + std::to_string(binding.slot) + ", which is not here");
      continue;
    }
    left.push_back(slots_[binding.slot].wanted.uid);
    want(slots_[binding.slot], binding);
  }
  for (auto uid : left) forget_if_unwanted(uid);
}

void Core::on_message(const proto::Dispatch& message) {
  const auto& run = message.ticket.run;
  if (run.empty() || !proto::is_elements(message.payload.view(), run.count)) {
    return note(true, "the broker dispatched run " + to_string(run) + " with other inputs");
  }
  Session* to = session(message.uid);
  QueuedRun queued{run, message.ticket, message.payload};
  if (to == nullptr || to->wanted_slots == 0 || drain_ != Drain::kNo) {
    std::vector<QueuedRun> back;
    back.push_back(std::move(queued));
    return give_back(message.uid, proto::Code::kOk, "", std::move(back));
  }
  to->queue.add(std::move(queued));
  touch(*to);
}

void Core::on_message(const proto::Recorded& message) {
  bool blocked = results_.bytes() > proto::kUnackedResultBytesMax;
  for (const auto& recorded : message.runs) results_.forget(recorded.uid, recorded.run);
  if (!blocked || results_.bytes() > proto::kUnackedResultBytesMax) return;
  for (auto& [uid, waiting] : sessions_) touch(*waiting);
}

void Core::on_message(const proto::TakeBack& message) {
  std::vector<QueuedRun> runs;
  if (Session* from = session(message.uid)) {
    runs = from->queue.take_all();
    touch(*from);
  }
  give_back(message.uid, proto::Code::kOk, "", std::move(runs));
}

void Core::on_message(const proto::Drain& message) {
  if (drain_ == Drain::kNo) begin_drain(proto::printable(message.reason));
}

void Core::on_message(const proto::CancelRuns& message) {
  Session* from = session(message.uid);
  std::vector<proto::Run> ended;
  for (const auto& run : message.runs) {
    if (from != nullptr) from->queue.drop(run);
    results_.forget(message.uid, run);
    std::vector<proto::Run> here{run};
    for (const auto& runs_on : cancel_in_hand(message.uid, run)) proto::take_out(here, runs_on);
    ended.insert(ended.end(), here.begin(), here.end());
  }
  say_cancelled(message.uid, ended);
  if (from != nullptr) touch(*from);
}

// ---- everything else
// ----------------------------------------------------------------------------------------

void Core::handle(const InstanceEvent& event) {
  Instance* from = instance(event.instance);
  if (from == nullptr) return;
  std::visit([&](const auto& e) { on_instance(*from, e); }, event.event);
}

void Core::handle(const Terminate&) {
  if (drain_ == Drain::kNo) return begin_drain("the executor is being stopped");
  for (auto& [id, running] : instances_) out_->push_back(Kill{id});
  out_->push_back(Exit{1});
}

// Only here it is known for certain: what the broker sent meanwhile goes back as not started.
void Core::handle(const LeaveIfIdle&) {
  if (drain_ != Drain::kNo) return;
  if (!nothing_in_hand()) return note(false, "asked to leave if idle; staying: tasks are in hand");
  begin_drain("idle, and no longer wanted");
}

void Core::handle(const TurnEnded&) {
  if (drain_ == Drain::kStopping) {  // after the Bye there is no link, only processes that end
    fire_deadlines();
    outgoing_.clear();
    reports_.clear();
    return step_drain();
  }
  link_.set_idle(wanted_slots_ == 0, now_);
  auto due = link_.due(now_);
  if (due.reconnect) out_->push_back(Reconnect{});
  fire_deadlines();
  measure_progress();
  for (auto uid : touched_) {
    if (Session* touched = session(uid)) serve(*touched), serve_busy(*touched);
  }
  if (config_.idle_exit_us > 0 && wanted_slots_ == 0 && drain_ == Drain::kNo &&
      now_.mono_us - idle_since_us_ >= config_.idle_exit_us) {
    begin_drain("no slot was bound for " + std::to_string(config_.idle_exit_us / 1'000'000) + " s");
  }
  if (due.beat) send_beat();
  step_drain();
  send_results();
  send_windows();
  send_progress();
  send_outgoing();
  touched_.clear();
  if (due.hello) send_hello();
}

}  // namespace flame::executor

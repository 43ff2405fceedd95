// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What an executor decides: which process serves which session, which tasks it gets, what is said
// to the broker and when. Pure: no socket, process, clock or randomness of its own. The shell
// around it (executor/app) feeds events, ends every turn with TurnEnded, and performs the actions
// in their order.
//
// What it may rely on: events of an instance come in the order of shims/shim.hpp and end with
// Exited. What the broker may rely on: a run is answered by TaskResults or Returned, or is listed
// in the next hello, or is not here any more.

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "executor/core/broker_link.hpp"
#include "executor/core/instance.hpp"
#include "executor/core/results.hpp"
#include "executor/core/session.hpp"
#include "executor/core/types.hpp"
#include "proto/epoch.hpp"

namespace flame::executor {

class Core {
 public:
  Core(Config config, const proto::Now& now);

  void on(const Event& event, const proto::Now& now, Actions& out);

  /// When the next TurnEnded is due if nothing happens.
  int64_t next_deadline_us() const;

  bool link_up() const { return link_.up(); }
  const proto::ExecutorWelcome& broker() const { return broker_; }

 private:
  enum class Drain : uint8_t { kNo, kFinishing, kRecording, kStopping };

  // core.cpp: what comes in
  void handle(const Received& received);
  void handle(const SendRefused&);
  void handle(const Terminate&);
  void handle(const LeaveIfIdle&);
  void handle(const LogsRead& logs) { say(proto::Output{logs.request, logs.payload}); }
  void handle(const TurnEnded&);
  void handle(const InstanceEvent& event);
  template <class Other>
  void on_message(const Other& message);
  void on_message(const proto::ErrorReply& message);
  void on_message(const proto::Resync& message);
  void on_message(const proto::Beat& message);
  void on_message(const proto::ExecutorWelcome& message);
  void on_message(const proto::SessionContext& message);
  void on_message(const proto::Bind& message);
  void on_message(const proto::Dispatch& message);
  void on_message(const proto::Recorded& message);
  void on_message(const proto::TakeBack& message);
  void on_message(const proto::CancelRuns& message);
  void on_message(const proto::Drain& message);
  void on_message(const proto::ReadOutput& message) {
    out_->push_back(ReadLogs{message.request, message.uid, message.task});
  }

  // turn.cpp: what goes out at the end of a turn
  void fire_deadlines();
  void measure_progress();
  bool more_answers_come() const;
  void send_results();
  void send_result(proto::TaskResults message);
  void send_windows();
  void send_progress();
  void send_hello();
  void send_beat();
  void begin_drain(const std::string& reason);
  bool nothing_in_hand() const;
  void step_drain();
  void say(proto::Message message) { outgoing_.push_back(std::move(message)); }
  void send_outgoing();
  void give_back(proto::SessionUid uid, proto::Code code, const std::string& reason,
                 std::vector<QueuedRun> runs);
  void note(bool warning, std::string text) { out_->push_back(Note{warning, std::move(text)}); }

  // slots.cpp: bindings and instances
  void want(Slot& slot, const proto::SlotBinding& binding);
  void forget_if_unwanted(proto::SessionUid uid);
  void advance(Slot& slot);
  void answer(Slot& slot, proto::Code code, const std::string& reason);
  void start_failed(Slot& slot, const std::string& reason);
  Instance* warm_for(Slot& slot, const Session& session);
  Instance& start(Slot& slot, const Session& session);
  void enter(Instance& instance, const Session& session);
  bool serves(const Instance& instance, const Session* session) const;
  void renew_instances(Session& session);
  void leave(Instance& instance);
  void stop(Instance& instance);
  void kill(Instance& instance, proto::Code code, std::string because);
  void count(Instance& instance, Session& session);
  void uncount(Instance& instance);
  void on_instance(Instance& instance, const shims::Entered& entered);
  void on_instance(Instance& instance, const shims::Results& results);
  void on_instance(Instance& instance, const shims::Progressed& progress);
  void on_instance(Instance& instance, const shims::Left& left);
  void on_instance(Instance& instance, const shims::Exited& exited);
  std::vector<proto::Run> cancel_in_hand(proto::SessionUid uid, const proto::Run& run);
  void say_cancelled(proto::SessionUid uid, const std::vector<proto::Run>& runs);
  void keep_answer(const Instance& instance, const HandedFrame& frame,
                   const shims::Results& results);
  void serve(Session& session);
  bool hand_one(Session& session);
  void answered_one(Instance& instance);
  void serve_busy(Session& session);
  void hand(Instance& instance, Session& session, uint64_t tasks);
  void offer_next(Instance& instance, Session& session);
  void set_deadline(Instance& instance, int64_t at_us);
  void set_retry(Slot& slot, int64_t at_us);
  void set_task_deadline(Instance& instance);

  Session* session(proto::SessionUid uid);
  Instance* instance(InstanceId id);
  void touch(Session& session);

  Config config_;
  BrokerLink link_;
  proto::ExecutorWelcome broker_;
  std::string refusal_;  ///< of the last hello, so that it is said once

  std::unordered_map<proto::SessionUid, std::unique_ptr<Session>> sessions_;
  std::map<std::string, RunTime> priors_;  ///< by application
  std::vector<Slot> slots_;
  uint64_t wanted_slots_ = 0;
  std::unordered_map<InstanceId, std::unique_ptr<Instance>> instances_;
  InstanceId last_instance_ = 0;
  ResultBox results_;
  int64_t results_due_us_ = INT64_MAX;  ///< when what is gathered is sent, at the latest
  proto::NewestEpoch newest_epoch_;
  /// Attempts to be charged that could not be said: they are, after the next welcome.
  std::vector<proto::Returned> unsaid_;

  std::vector<proto::SessionUid> touched_;
  std::vector<InstanceId> progressed_;
  /// What tasks said last and the broker does not know; it leaves every progress_ms.
  std::map<proto::SessionUid, std::map<proto::TaskId, proto::ProgressReport>> reports_;
  int64_t reports_due_us_ = 0;
  std::vector<proto::Message> outgoing_;
  using Deadline =
      std::tuple<int64_t, bool, uint64_t>;  ///< at, of a slot (else an instance), which
  std::set<Deadline> deadlines_;

  Drain drain_ = Drain::kNo;
  int64_t drain_until_us_ = 0;
  int64_t idle_since_us_;

  // Of the call of on() that is going on.
  proto::Now now_;
  Actions* out_ = nullptr;
};

}  // namespace flame::executor

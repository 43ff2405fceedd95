// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What executors and the broker say to each other; proto/messages.hpp has the rules.

#include <cstdint>
#include <string>
#include <vector>

#include "proto/client_messages.hpp"

namespace flame::proto {

// ---- executor -> broker
// ---------------------------------------------------------------------------------

/// A slot and what it is bound to; uid 0: nothing. The generation rises with every wanted change.
struct SlotBinding {
  uint64_t slot = 0;
  uint64_t generation = 0;
  SessionUid uid = 0;
  template <class F>
  auto fields(F&& f) {
    return f(slot, generation, uid);
  }
  friend bool operator==(const SlotBinding&, const SlotBinding&) = default;
};

/// What the executor wants to have outstanding of a session: tasks and bytes that are dispatched to
/// it and not answered yet. An absolute, so a lost one does no harm.
struct SessionWindow {
  SessionUid uid = 0;
  uint64_t tasks = 0;
  uint64_t bytes = 0;
  template <class F>
  auto fields(F&& f) {
    return f(uid, tasks, bytes);
  }
  friend bool operator==(const SessionWindow&, const SessionWindow&) = default;
};

/// Proof that `run` was dispatched to this executor: a keyed hash over the fields beside it, the
/// session's uid and the executor's key. Valid for every sub-range; any later broker of the same
/// lineage can check it.
struct Ticket {
  Run run;
  Attempt attempt = 1;
  std::string epoch;
  std::string token;  ///< 16 bytes
  template <class F>
  auto fields(F&& f) {
    return f(run, attempt, epoch, token);
  }
  friend bool operator==(const Ticket&, const Ticket&) = default;
};

/// A run that the executor holds, or whose result it holds unacknowledged.
struct HandRun {
  SessionUid uid = 0;
  Run run;
  Ticket ticket;
  template <class F>
  auto fields(F&& f) {
    return f(uid, run, ticket);
  }
  friend bool operator==(const HandRun&, const HandRun&) = default;
};

/// A session's context that an executor has, in the version that came with it.
struct HeldContext {
  SessionUid uid = 0;
  uint64_t version = 0;
  template <class F>
  auto fields(F&& f) {
    return f(uid, version);
  }
  friend bool operator==(const HeldContext&, const HeldContext&) = default;
};

/// First on a link, with everything the executor holds. Answer: ExecutorWelcome, or ErrorReply.
/// The same id with another nonce is a new process: the old one's tasks go back at once if its
/// connection is closed or silent, else the new one is refused with retry_after.
struct ExecutorHello {
  static constexpr auto kType = MessageType::kExecutorHello;
  uint64_t protocol_minor = kProtocolMinor;
  std::string cluster;
  std::string executor;
  std::string nonce;        ///< drawn at process start
  std::string application;  ///< serves only this one; "" for all
  uint64_t slots = 0;
  std::string address;  ///< host and process id, shown
  std::string version;
  std::vector<SlotBinding> bindings;
  std::vector<SessionWindow> windows;
  std::vector<HandRun> hand;
  std::vector<HeldContext> contexts;
  /// What whoever started it knows it by: "pod NAMESPACE/NAME UID" or "process PID"; shown.
  std::string provider;
  template <class F>
  auto fields(F&& f) {
    return f(protocol_minor, cluster, executor, nonce, application, slots, address, version,
             bindings, windows, hand, contexts, provider);
  }
  friend bool operator==(const ExecutorHello&, const ExecutorHello&) = default;
};

struct Window {
  static constexpr auto kType = MessageType::kWindow;
  std::vector<SessionWindow> windows;
  template <class F>
  auto fields(F&& f) {
    return f(windows);
  }
  friend bool operator==(const Window&, const Window&) = default;
};

/// Results of `run`, a part of the ticket's run. Answer: Recorded. Kept by the executor until then.
/// payload: one output element per task, empty for those in `exceptions`.
struct TaskResults {
  static constexpr auto kType = MessageType::kTaskResults;
  SessionUid uid = 0;
  Run run;
  Ticket ticket;
  uint64_t base_ms = 0;
  std::vector<FrameTime> times;
  std::vector<Exception> exceptions;
  /// Of the session, as in Window: what it wants next. Saves a message.
  uint64_t window_tasks = 0;
  uint64_t window_bytes = 0;
  Bytes payload;
  template <class F>
  auto fields(F&& f) {
    return f(uid, run, ticket, base_ms, times, exceptions, window_tasks, window_bytes);
  }
  friend bool operator==(const TaskResults&, const TaskResults&) = default;
};

/// Runs that come back without a result. kOk: not started, uncharged. kTaskCrashed, kTaskTimeout:
/// the service had them in hand, an attempt is charged. kTaskServiceFailed: the service does not
/// start, uncharged. kTaskCancelled: the answer to CancelRuns, without tickets.
struct Returned {
  static constexpr auto kType = MessageType::kReturned;
  SessionUid uid = 0;
  Code code = Code::kOk;
  std::string reason;
  std::vector<HandRun> runs;
  template <class F>
  auto fields(F&& f) {
    return f(uid, code, reason, runs);
  }
  friend bool operator==(const Returned&, const Returned&) = default;
};

/// The echo of Bind: the slot serves `binding` now, or could not (code, reason).
struct Bound {
  static constexpr auto kType = MessageType::kBound;
  SlotBinding binding;
  Code code = Code::kOk;
  std::string reason;
  template <class F>
  auto fields(F&& f) {
    return f(binding, code, reason);
  }
  friend bool operator==(const Bound&, const Bound&) = default;
};

/// Takes nothing new, finishes what it has, then says Bye.
struct Draining {
  static constexpr auto kType = MessageType::kDraining;
  std::string reason;
  template <class F>
  auto fields(F&& f) {
    return f(reason);
  }
  friend bool operator==(const Draining&, const Draining&) = default;
};

/// What running tasks said of themselves last. No answer: it may be lost, and the next one counts.
struct TaskProgress {
  static constexpr auto kType = MessageType::kTaskProgress;
  SessionUid uid = 0;
  std::vector<ProgressReport> reports;
  template <class F>
  auto fields(F&& f) {
    return f(uid, reports);
  }
  friend bool operator==(const TaskProgress&, const TaskProgress&) = default;
};

/// The answer to ReadOutput. payload: as of Logs.
struct Output {
  static constexpr auto kType = MessageType::kOutput;
  uint64_t request = 0;
  Bytes payload;
  template <class F>
  auto fields(F&& f) {
    return f(request);
  }
  friend bool operator==(const Output&, const Output&) = default;
};

// ---- broker -> executor
// ---------------------------------------------------------------------------------

/// Then Bind for every slot with a wanted binding, Recorded for results already known, CancelRuns
/// for runs that are in hand but not believed.
struct ExecutorWelcome {
  static constexpr auto kType = MessageType::kExecutorWelcome;
  uint64_t protocol_minor = kProtocolMinor;
  std::string version;
  std::string cluster;
  std::string epoch;
  std::string lineage;
  uint64_t beat_ms = kBeatMs;
  uint64_t lease_ms = kLeaseMs;
  template <class F>
  auto fields(F&& f) {
    return f(protocol_minor, version, cluster, epoch, lineage, beat_ms, lease_ms);
  }
  friend bool operator==(const ExecutorWelcome&, const ExecutorWelcome&) = default;
};

/// What an instance of the session needs. Sent before the first Bind of the session to this
/// executor, again after its last slot was bound to something else (the executor forgets it then),
/// and when something of it changed: what comes behind it runs in instances that know the new one.
/// payload: common data.
struct SessionContext {
  static constexpr auto kType = MessageType::kSessionContext;
  SessionUid uid = 0;
  std::string session;
  Value application;
  std::string owner;     ///< a process is re-bound only between sessions of one owner
  uint64_t version = 0;  ///< differs where application or common data do
  Bytes payload;
  template <class F>
  auto fields(F&& f) {
    return f(uid, session, application, owner, version);
  }
  friend bool operator==(const SessionContext&, const SessionContext&) = default;
};

/// The wanted bindings; repeated until echoed by Bound.
struct Bind {
  static constexpr auto kType = MessageType::kBind;
  std::vector<SlotBinding> bindings;
  template <class F>
  auto fields(F&& f) {
    return f(bindings);
  }
  friend bool operator==(const Bind&, const Bind&) = default;
};

/// A run to execute in any slot bound to the session. payload: its inputs.
struct Dispatch {
  static constexpr auto kType = MessageType::kDispatch;
  SessionUid uid = 0;
  Ticket ticket;
  Bytes payload;
  template <class F>
  auto fields(F&& f) {
    return f(uid, ticket);
  }
  friend bool operator==(const Dispatch&, const Dispatch&) = default;
};

struct RecordedRun {
  SessionUid uid = 0;
  Run run;
  Code code =
      Code::kOk;  ///< ok, duplicate, gone, refused: in each case the executor may forget the result
  template <class F>
  auto fields(F&& f) {
    return f(uid, run, code);
  }
  friend bool operator==(const RecordedRun&, const RecordedRun&) = default;
};

struct Recorded {
  static constexpr auto kType = MessageType::kRecorded;
  std::vector<RecordedRun> runs;
  template <class F>
  auto fields(F&& f) {
    return f(runs);
  }
  friend bool operator==(const Recorded&, const Recorded&) = default;
};

/// Please return what has not been started of the session. Answer: Returned with kOk (possibly no
/// runs).
struct TakeBack {
  static constexpr auto kType = MessageType::kTakeBack;
  SessionUid uid = 0;
  template <class F>
  auto fields(F&& f) {
    return f(uid);
  }
  friend bool operator==(const TakeBack&, const TakeBack&) = default;
};

/// Forget these runs; their results are not wanted. Services that have them are told to stop, and
/// killed after cancel_grace_ms. Answer: Returned with kTaskCancelled for each part, once it is not
/// here any more; until then it counts against the window.
struct CancelRuns {
  static constexpr auto kType = MessageType::kCancelRuns;
  SessionUid uid = 0;
  std::vector<Run> runs;
  template <class F>
  auto fields(F&& f) {
    return f(uid, runs);
  }
  friend bool operator==(const CancelRuns&, const CancelRuns&) = default;
};

/// Finish what is in hand, say Draining and Bye, and end. Not sent to pods: what ends there is
/// started again.
struct Drain {
  static constexpr auto kType = MessageType::kDrain;
  std::string reason;
  template <class F>
  auto fields(F&& f) {
    return f(reason);
  }
  friend bool operator==(const Drain&, const Drain&) = default;
};

/// What instances of the session wrote to stdout and stderr, with `task` only while that ran.
/// Answer: Output.
struct ReadOutput {
  static constexpr auto kType = MessageType::kReadOutput;
  uint64_t request = 0;
  SessionUid uid = 0;
  TaskId task = 0;
  template <class F>
  auto fields(F&& f) {
    return f(request, uid, task);
  }
  friend bool operator==(const ReadOutput&, const ReadOutput&) = default;
};

}  // namespace flame::proto

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What is said: one struct per message, in the order of a conversation. docs/protocol.md draws it;
// golden vectors in proto/vectors/ pin the bytes.
//
// A message is one or two ZeroMQ frames: the header, a msgpack array
//     [protocol major, type, link, sequence, fields in the order of fields()...]
// and, where the struct has a `payload`, a second frame. Nested structs are arrays of their fields.
//
// Links. The connecting side draws a `link` number for each hello; both sides then number their
// messages on it 1, 2, 3 ... A receiver drops a duplicate, and answers a gap or an unknown link
// with Resync; the connecting side then says hello on a new link and states absolutes. A beat is a
// numbered message like any other, so it shows the loss of the last one.

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "proto/application.hpp"
#include "proto/bytes.hpp"
#include "proto/error.hpp"
#include "proto/ids.hpp"
#include "proto/message_types.hpp"
#include "proto/run.hpp"
#include "proto/states.hpp"
#include "proto/value.hpp"

namespace flame::proto {

// ---- both ways
// ------------------------------------------------------------------------------------------

/// A request failed, or (request 0) something that had no request. `submit` names the refused
/// submit.
struct ErrorReply {
  static constexpr auto kType = MessageType::kError;
  uint64_t request = 0;
  Code code = Code::kOk;
  std::string message;
  uint32_t retry_after_ms = 0;
  SessionUid uid = 0;
  uint64_t submit = 0;
  template <class F>
  auto fields(F&& f) {
    return f(request, code, message, retry_after_ms, uid, submit);
  }
  friend bool operator==(const ErrorReply&, const ErrorReply&) = default;
};

/// Sent by the thread that does the work, every beat_ms, in both directions; between a broker and
/// an executor without a binding every `idle_ms` where the broker's last one said so. `status`: an
/// executor's busy slots; a broker's 1 while the store answers, else 0.
struct Beat {
  static constexpr auto kType = MessageType::kBeat;
  uint64_t status = 0;
  uint64_t idle_ms = 0;  ///< 0: as beat_ms
  template <class F>
  auto fields(F&& f) {
    return f(status, idle_ms);
  }
  friend bool operator==(const Beat&, const Beat&) = default;
};

/// Broker -> client, executor: messages of this link were lost, or the link is unknown. Answer: a
/// new hello.
struct Resync {
  static constexpr auto kType = MessageType::kResync;
  std::string reason;
  template <class F>
  auto fields(F&& f) {
    return f(reason);
  }
  friend bool operator==(const Resync&, const Resync&) = default;
};

/// The sender leaves: a client's subscriptions end; an executor has nothing in hand.
struct Bye {
  static constexpr auto kType = MessageType::kBye;
  std::string reason;
  template <class F>
  auto fields(F&& f) {
    return f(reason);
  }
  friend bool operator==(const Bye&, const Bye&) = default;
};

// ---- client -> broker
// -----------------------------------------------------------------------------------

/// First on a link. Answer: Welcome, or ErrorReply version/cluster and nothing else.
struct ClientHello {
  static constexpr auto kType = MessageType::kClientHello;
  uint64_t protocol_minor = kProtocolMinor;
  std::string cluster;  ///< "" for any
  std::string client;  ///< 32 hex digits, chosen once per client; its submits are numbered under it
  std::string lineage;  ///< the one it last saw, or ""
  std::string version;  ///< of the software, shown
  template <class F>
  auto fields(F&& f) {
    return f(protocol_minor, cluster, client, lineage, version);
  }
  friend bool operator==(const ClientHello&, const ClientHello&) = default;
};

/// What is chosen when a session is created. Compared as a whole by open-or-create.
struct SessionSpec {
  std::string application;
  uint64_t min_instances = 0;
  uint64_t max_instances = 0;  ///< 0: no limit of its own
  uint64_t priority = 0;       ///< kept and shown, not acting yet
  Durability durability = Durability::kStored;
  /// Outputs are dropped: "ttl" results_ttl_ms after close, "read" as soon as every reader
  /// acknowledged them.
  std::string retention = "ttl";
  uint64_t results_ttl_ms = 0;  ///< 0: the application's
  std::string resources;        ///< kept and shown, not acting yet
  template <class F>
  auto fields(F&& f) {
    return f(application, min_instances, max_instances, priority, durability, retention,
             results_ttl_ms, resources);
  }
  friend bool operator==(const SessionSpec&, const SessionSpec&) = default;
};

/// Answer: SessionInfo, or already_exists (with open_or_create: only if the spec differs). payload:
/// common data.
struct CreateSession {
  static constexpr auto kType = MessageType::kCreateSession;
  uint64_t request = 0;
  std::string session;  ///< "" makes <application>-<6 of [0-9A-Za-z]>
  bool open_or_create = false;
  SessionSpec spec;
  Bytes payload;
  template <class F>
  auto fields(F&& f) {
    return f(request, session, open_or_create, spec);
  }
  friend bool operator==(const CreateSession&, const CreateSession&) = default;
};

/// Answer: SessionInfo.
struct OpenSession {
  static constexpr auto kType = MessageType::kOpenSession;
  uint64_t request = 0;
  std::string session;
  template <class F>
  auto fields(F&& f) {
    return f(request, session);
  }
  friend bool operator==(const OpenSession&, const OpenSession&) = default;
};

/// One run of inputs. `number` counts this client's submits to this session 1, 2, 3 ...: only the
/// last + 1 is accepted, an older one is answered as it was, a gap is refused and names the number
/// expected. Answer: SubmitAck, or ErrorReply with `submit` (busy consumes no number).
struct Submit {
  static constexpr auto kType = MessageType::kSubmit;
  SessionUid uid = 0;
  uint64_t number = 0;
  uint64_t count = 0;
  uint64_t sent_us = 0;  ///< Unix time in us; not 0 asks for stamps with the results
  Bytes payload;
  template <class F>
  auto fields(F&& f) {
    return f(uid, number, count, sent_us);
  }
  friend bool operator==(const Submit&, const Submit&) = default;
};

/// Asks for the results from entry `index` of `done` on, as they come. Answer: Watching, then
/// Results; each keeps at most `window_bytes` unacknowledged. A second Watch of the same session
/// moves the cursor.
struct Watch {
  static constexpr auto kType = MessageType::kWatch;
  uint64_t request = 0;
  SessionUid uid = 0;
  uint64_t index = 0;
  uint64_t window_bytes = kDeliverBytesMax;
  std::string reader;   ///< a name under which `index` is remembered; "" for none
  std::string lineage;  ///< of the cursor; another one than the broker's is refused as lost_lineage
  template <class F>
  auto fields(F&& f) {
    return f(request, uid, index, window_bytes, reader, lineage);
  }
  friend bool operator==(const Watch&, const Watch&) = default;
};

/// All entries below `index` are consumed. No answer.
struct ResultsAck {
  static constexpr auto kType = MessageType::kResultsAck;
  SessionUid uid = 0;
  uint64_t index = 0;
  template <class F>
  auto fields(F&& f) {
    return f(uid, index);
  }
  friend bool operator==(const ResultsAck&, const ResultsAck&) = default;
};

/// Pending tasks become cancelled, running ones finish. Answer: SessionInfo, when recorded.
/// Idempotent.
struct CloseSession {
  static constexpr auto kType = MessageType::kCloseSession;
  uint64_t request = 0;
  std::string session;
  template <class F>
  auto fields(F&& f) {
    return f(request, session);
  }
  friend bool operator==(const CloseSession&, const CloseSession&) = default;
};

/// Answer: Ok. Needs a closed session or `force`.
struct DeleteSession {
  static constexpr auto kType = MessageType::kDeleteSession;
  uint64_t request = 0;
  std::string session;
  bool force = false;
  template <class F>
  auto fields(F&& f) {
    return f(request, session, force);
  }
  friend bool operator==(const DeleteSession&, const DeleteSession&) = default;
};

/// Answer: SessionInfo as soon as no task is pending or running (`closed`: as soon as it is
/// closed).
struct WaitSession {
  static constexpr auto kType = MessageType::kWaitSession;
  uint64_t request = 0;
  std::string session;
  bool closed = false;
  template <class F>
  auto fields(F&& f) {
    return f(request, session, closed);
  }
  friend bool operator==(const WaitSession&, const WaitSession&) = default;
};

/// kind: session | application | executor. Answer: Listing, oldest first.
struct ListKind {
  static constexpr auto kType = MessageType::kList;
  uint64_t request = 0;
  std::string kind;
  bool all = false;  ///< executors: also those that left
  template <class F>
  auto fields(F&& f) {
    return f(request, kind, all);
  }
  friend bool operator==(const ListKind&, const ListKind&) = default;
};

/// One thing with everything known about it: session (with events), application, executor. `id` may
/// be `last` (session) or a unique prefix. Answer: Listing with one row.
struct View {
  static constexpr auto kType = MessageType::kView;
  uint64_t request = 0;
  std::string kind;
  std::string id;
  template <class F>
  auto fields(F&& f) {
    return f(request, kind, id);
  }
  friend bool operator==(const View&, const View&) = default;
};

/// application: as to_value() has it. Answer: Ok; an equal one is fine, another one under an open
/// session not.
struct RegisterApplication {
  static constexpr auto kType = MessageType::kRegisterApplication;
  uint64_t request = 0;
  Value application;
  template <class F>
  auto fields(F&& f) {
    return f(request, application);
  }
  friend bool operator==(const RegisterApplication&, const RegisterApplication&) = default;
};

/// Answer: Ok, or wrong_state while a session of it is not closed.
struct UnregisterApplication {
  static constexpr auto kType = MessageType::kUnregisterApplication;
  uint64_t request = 0;
  std::string name;
  template <class F>
  auto fields(F&& f) {
    return f(request, name);
  }
  friend bool operator==(const UnregisterApplication&, const UnregisterApplication&) = default;
};

/// After Redis lost confirmed writes: go on with what is there, under a new lineage. Answer: Ok.
struct Recover {
  static constexpr auto kType = MessageType::kRecover;
  uint64_t request = 0;
  bool accept_loss = false;
  template <class F>
  auto fields(F&& f) {
    return f(request, accept_loss);
  }
  friend bool operator==(const Recover&, const Recover&) = default;
};

/// Tasks become cancelled: pending ones, and with `running` also those that executors have: their
/// services are told to stop and are killed after cancel_grace_ms. Finished ones stay as they are.
/// Answer: Cancelled, when recorded. Idempotent.
struct CancelTasks {
  static constexpr auto kType = MessageType::kCancelTasks;
  uint64_t request = 0;
  std::string session;
  std::vector<Run> runs;  ///< at most cancel_runs_max; none: all tasks of the session
  bool running = false;
  template <class F>
  auto fields(F&& f) {
    return f(request, session, runs, running);
  }
  friend bool operator==(const CancelTasks&, const CancelTasks&) = default;
};

// ---- broker -> client
// -----------------------------------------------------------------------------------

/// `serving` is false while the broker recovers or waits for `recover`; reads are answered, the
/// rest is not.
struct Welcome {
  static constexpr auto kType = MessageType::kWelcome;
  uint64_t protocol_minor = kProtocolMinor;
  std::string version;
  std::string cluster;
  std::string epoch;
  std::string lineage;
  uint64_t beat_ms = kBeatMs;
  uint64_t lease_ms = kClientLeaseMs;
  uint64_t payload_bytes_max = kPayloadBytesMax;
  bool serving = true;
  template <class F>
  auto fields(F&& f) {
    return f(protocol_minor, version, cluster, epoch, lineage, beat_ms, lease_ms, payload_bytes_max,
             serving);
  }
  friend bool operator==(const Welcome&, const Welcome&) = default;
};

struct Ok {
  static constexpr auto kType = MessageType::kOk;
  uint64_t request = 0;
  std::string text;
  template <class F>
  auto fields(F&& f) {
    return f(request, text);
  }
  friend bool operator==(const Ok&, const Ok&) = default;
};

struct Counters {
  uint64_t tasks = 0, pending = 0, running = 0, succeed = 0, failed = 0, cancelled = 0;
  uint64_t unfinished() const { return pending + running; }
  template <class F>
  auto fields(F&& f) {
    return f(tasks, pending, running, succeed, failed, cancelled);
  }
  friend bool operator==(const Counters&, const Counters&) = default;
};

struct SessionInfo {
  static constexpr auto kType = MessageType::kSessionInfo;
  uint64_t request = 0;
  std::string session;
  SessionUid uid = 0;
  SessionSpec spec;
  SessionState state = SessionState::kOpen;
  Counters counters;
  uint64_t last_submit = 0;  ///< the highest number accepted from this client
  uint64_t done_first = 0;   ///< index of the first entry of `done` still kept
  uint64_t done_end = 0;     ///< index after the last entry
  uint64_t created_ms = 0;
  uint64_t closed_ms = 0;
  template <class F>
  auto fields(F&& f) {
    return f(request, session, uid, spec, state, counters, last_submit, done_first, done_end,
             created_ms, closed_ms);
  }
  friend bool operator==(const SessionInfo&, const SessionInfo&) = default;
};

struct SubmitAckItem {
  uint64_t number = 0;
  Run run;
  template <class F>
  auto fields(F&& f) {
    return f(number, run);
  }
  friend bool operator==(const SubmitAckItem&, const SubmitAckItem&) = default;
};

/// The tasks' ids, and the durability that was reached before this was sent.
struct SubmitAck {
  static constexpr auto kType = MessageType::kSubmitAck;
  SessionUid uid = 0;
  Durability level = Durability::kStored;
  std::vector<SubmitAckItem> items;
  template <class F>
  auto fields(F&& f) {
    return f(uid, level, items);
  }
  friend bool operator==(const SubmitAck&, const SubmitAck&) = default;
};

struct Watching {
  static constexpr auto kType = MessageType::kWatching;
  uint64_t request = 0;
  SessionUid uid = 0;
  uint64_t index = 0;     ///< where it begins; above the asked one only if that was trimmed
  uint64_t done_end = 0;  ///< entries that exist now
  template <class F>
  auto fields(F&& f) {
    return f(request, uid, index, done_end);
  }
  friend bool operator==(const Watching&, const Watching&) = default;
};

/// A task of the run that did not succeed. Its output element is empty.
struct Exception {
  TaskId id = 0;
  Code code = Code::kTaskFailed;
  std::string reason;  ///< message, exit code or signal, tail of stderr
  template <class F>
  auto fields(F&& f) {
    return f(id, code, reason);
  }
  friend bool operator==(const Exception&, const Exception&) = default;
};

/// `count` tasks of a run that went through the service in one frame, in us after the run's base
/// time.
struct FrameTime {
  uint64_t count = 0;
  uint64_t start_us = 0;
  uint64_t end_us = 0;
  template <class F>
  auto fields(F&& f) {
    return f(count, start_us, end_us);
  }
  friend bool operator==(const FrameTime&, const FrameTime&) = default;
};

/// Entry `index` of `done`. A watcher gets every entry once, in order; a gap is asked for again
/// with Watch.
struct Results {
  static constexpr auto kType = MessageType::kResults;
  SessionUid uid = 0;
  uint64_t index = 0;
  Run run;
  std::string executor;
  Attempt attempt = 0;
  uint64_t base_ms = 0;
  std::vector<FrameTime> times;
  std::vector<Exception> exceptions;
  /// Unix time in us: sent, received, written, stored, started, ended, result written, result
  /// stored; empty unless the submit asked.
  std::vector<uint64_t> stamps;
  Bytes payload;
  template <class F>
  auto fields(F&& f) {
    return f(uid, index, run, executor, attempt, base_ms, times, exceptions, stamps);
  }
  friend bool operator==(const Results&, const Results&) = default;
};

/// payload: rows (proto/rows.hpp), maps with flat keys. `cut`: there were more than list_rows_max.
struct Listing {
  static constexpr auto kType = MessageType::kListing;
  uint64_t request = 0;
  bool cut = false;
  Bytes payload;
  template <class F>
  auto fields(F&& f) {
    return f(request, cut);
  }
  friend bool operator==(const Listing&, const Listing&) = default;
};

/// To watchers, when the state changes (closing, closed, suspended, deleting).
struct SessionChanged {
  static constexpr auto kType = MessageType::kSessionChanged;
  SessionUid uid = 0;
  SessionState state = SessionState::kOpen;
  Counters counters;
  uint64_t done_end = 0;
  std::string reason;
  template <class F>
  auto fields(F&& f) {
    return f(uid, state, counters, done_end, reason);
  }
  friend bool operator==(const SessionChanged&, const SessionChanged&) = default;
};

/// What CancelTasks did, in tasks.
struct Cancelled {
  static constexpr auto kType = MessageType::kCancelled;
  uint64_t request = 0;
  SessionUid uid = 0;
  uint64_t pending = 0;  ///< were pending
  uint64_t running = 0;  ///< were running
  template <class F>
  auto fields(F&& f) {
    return f(request, uid, pending, running);
  }
  friend bool operator==(const Cancelled&, const Cancelled&) = default;
};

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
  template <class F>
  auto fields(F&& f) {
    return f(protocol_minor, cluster, executor, nonce, application, slots, address, version,
             bindings, windows, hand);
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
/// executor, and again after its last slot was bound to something else (the executor forgets it
/// then). payload: common data.
struct SessionContext {
  static constexpr auto kType = MessageType::kSessionContext;
  SessionUid uid = 0;
  std::string session;
  Value application;
  std::string owner;  ///< a process is re-bound only between sessions of one owner
  Bytes payload;
  template <class F>
  auto fields(F&& f) {
    return f(uid, session, application, owner);
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

// ---- all
// ------------------------------------------------------------------------------------------------

using Message =
    std::variant<ErrorReply, Beat, Resync, Bye, ClientHello, CreateSession, OpenSession, Submit,
                 Watch, ResultsAck, CloseSession, DeleteSession, WaitSession, ListKind, View,
                 RegisterApplication, UnregisterApplication, Recover, Welcome, Ok, SessionInfo,
                 SubmitAck, Watching, Results, Listing, SessionChanged, ExecutorHello, Window,
                 TaskResults, Returned, Bound, Draining, ExecutorWelcome, SessionContext, Bind,
                 Dispatch, Recorded, TakeBack, CancelRuns, CancelTasks, Cancelled>;

inline MessageType type_of(const Message& message) {
  return std::visit([](const auto& m) { return std::decay_t<decltype(m)>::kType; }, message);
}
std::string_view name_of(MessageType type);

}  // namespace flame::proto

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What clients and the broker say to each other; proto/messages.hpp has the rules.

#include <cstdint>
#include <string>
#include <vector>

#include "proto/bytes.hpp"
#include "proto/error.hpp"
#include "proto/ids.hpp"
#include "proto/message_types.hpp"
#include "proto/run.hpp"
#include "proto/states.hpp"
#include "proto/value.hpp"

namespace flame::proto {

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
  uint64_t results_ttl_ms = 0;             ///< 0: the application's
  std::string resources;                   ///< kept and shown, not acting yet
  uint64_t batch_size = 1;                 ///< kept and shown, not acting yet
  static constexpr size_t kFieldsMin = 8;  ///< an older peer's end with resources
  template <class F>
  auto fields(F&& f) {
    return f(application, min_instances, max_instances, priority, durability, retention,
             results_ttl_ms, resources, batch_size);
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

/// Tasks of a session as they are recorded, in the order of their ids, from `start` on. Answer:
/// Tasks.
struct GetTasks {
  static constexpr auto kType = MessageType::kGetTasks;
  uint64_t request = 0;
  std::string session;
  TaskId start = 1;
  uint64_t limit = 0;     ///< at most task_rows_max; 0: as many
  std::string states;     ///< letters of those wanted: P R S F C; none: all
  bool payloads = false;  ///< inputs that are kept, and outputs
  template <class F>
  auto fields(F&& f) {
    return f(request, session, start, limit, states, payloads);
  }
  friend bool operator==(const GetTasks&, const GetTasks&) = default;
};

/// Changes fields of an application, also while sessions of it are open: an instance is started
/// anew once nothing runs in it. Answer: Ok, when recorded.
struct UpdateApplication {
  static constexpr auto kType = MessageType::kUpdateApplication;
  uint64_t request = 0;
  std::string name;
  Value changes;  ///< a map of the fields that become different, as to_value() has them
  template <class F>
  auto fields(F&& f) {
    return f(request, name, changes);
  }
  friend bool operator==(const UpdateApplication&, const UpdateApplication&) = default;
};

/// Other common data for a session that takes tasks. Tasks submitted after the answer run with it:
/// an instance leaves the session and enters it again, once nothing runs in it. Answer: CommonData
/// without payload, when recorded; conflict if `if_version` is not the present one.
struct UpdateCommon {
  static constexpr auto kType = MessageType::kUpdateCommon;
  uint64_t request = 0;
  std::string session;
  uint64_t if_version = 0;  ///< only if this is the present version; 0: in any case
  Bytes payload;
  template <class F>
  auto fields(F&& f) {
    return f(request, session, if_version);
  }
  friend bool operator==(const UpdateCommon&, const UpdateCommon&) = default;
};

/// Answer: CommonData.
struct GetCommon {
  static constexpr auto kType = MessageType::kGetCommon;
  uint64_t request = 0;
  std::string session;
  template <class F>
  auto fields(F&& f) {
    return f(request, session);
  }
  friend bool operator==(const GetCommon&, const GetCommon&) = default;
};

/// One task, as soon as it is not any more what the client knows. Answer: Tasks with its row, whose
/// `version` is what to name next; states between two questions are not told.
struct WatchTask {
  static constexpr auto kType = MessageType::kWatchTask;
  uint64_t request = 0;
  std::string session;
  TaskId task = 0;
  std::string known;      ///< `version` of the row that the client has; none: answered at once
  bool payloads = false;  ///< as in GetTasks
  template <class F>
  auto fields(F&& f) {
    return f(request, session, task, known, payloads);
  }
  friend bool operator==(const WatchTask&, const WatchTask&) = default;
};

/// What the instances of a session wrote to stdout and stderr last. Answer: Logs, once every
/// executor that has some answered, or log_wait_ms later without the others.
struct GetLogs {
  static constexpr auto kType = MessageType::kGetLogs;
  uint64_t request = 0;
  std::string session;
  TaskId task = 0;  ///< only what was written while this task ran; 0: all
  template <class F>
  auto fields(F&& f) {
    return f(request, session, task);
  }
  friend bool operator==(const GetLogs&, const GetLogs&) = default;
};

/// Cordons, drains or frees an executor. A drained one cannot be told from a cordoned one while it
/// has tasks; then it leaves by itself, unless it is a pod: that waits for its SIGTERM. Answer: Ok.
struct HoldExecutor {
  static constexpr auto kType = MessageType::kHoldExecutor;
  uint64_t request = 0;
  std::string executor;
  Hold hold = Hold::kNone;
  template <class F>
  auto fields(F&& f) {
    return f(request, executor, hold);
  }
  friend bool operator==(const HoldExecutor&, const HoldExecutor&) = default;
};

/// Drains up to `count` executors of an application that have nothing in hand and names them, those
/// first that are drained already, then those idle for longest. One with a task is never chosen.
/// Answer: Listing of their rows.
struct PickVictims {
  static constexpr auto kType = MessageType::kPickVictims;
  uint64_t request = 0;
  std::string application;
  uint64_t count = 0;
  uint64_t idle_ms = 0;                ///< only those without a task for so long, or that rest
  std::vector<std::string> executors;  ///< only of these; none: of all that serve only it
  template <class F>
  auto fields(F&& f) {
    return f(request, application, count, idle_ms, executors);
  }
  friend bool operator==(const PickVictims&, const PickVictims&) = default;
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

/// payload: rows (proto/rows.hpp), each followed by the task's input and its output where the row's
/// `input` and `output` are true. `next`: where to go on, as one answer holds only so much; 0:
/// there are no more.
struct Tasks {
  static constexpr auto kType = MessageType::kTasks;
  uint64_t request = 0;
  TaskId next = 0;
  Bytes payload;
  template <class F>
  auto fields(F&& f) {
    return f(request, next);
  }
  friend bool operator==(const Tasks&, const Tasks&) = default;
};

struct ProgressReport {
  TaskId task = 0;
  uint64_t percent = 0;  ///< at most 100
  std::string text;      ///< at most progress_text_bytes_max
  template <class F>
  auto fields(F&& f) {
    return f(task, percent, text);
  }
  friend bool operator==(const ProgressReport&, const ProgressReport&) = default;
};

/// What running tasks said of themselves last. To watchers of the session, ten times a second at
/// most; the next one counts if one is lost.
struct Progress {
  static constexpr auto kType = MessageType::kProgress;
  SessionUid uid = 0;
  std::vector<ProgressReport> reports;
  template <class F>
  auto fields(F&& f) {
    return f(uid, reports);
  }
  friend bool operator==(const Progress&, const Progress&) = default;
};

/// payload: common data; empty as the answer to UpdateCommon. `version` counts 1, 2, 3 ... from the
/// session's creation on.
struct CommonData {
  static constexpr auto kType = MessageType::kCommonData;
  uint64_t request = 0;
  uint64_t version = 0;
  Bytes payload;
  template <class F>
  auto fields(F&& f) {
    return f(request, version);
  }
  friend bool operator==(const CommonData&, const CommonData&) = default;
};

/// payload: rows (proto/rows.hpp), one of each instance: executor, instance, process, running; each
/// followed by the last bytes it wrote, of at most instance_log_bytes. An executor that did not
/// answer in time has one row with `error`. `cut`: some were left out, one answer holds only so
/// much.
struct Logs {
  static constexpr auto kType = MessageType::kLogs;
  uint64_t request = 0;
  bool cut = false;
  Bytes payload;
  template <class F>
  auto fields(F&& f) {
    return f(request, cut);
  }
  friend bool operator==(const Logs&, const Logs&) = default;
};

}  // namespace flame::proto

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Everything the broker knows, as plain data, and what it wants done, as values. The reactors
// beside this file (clients, executors, results, dispatch, lifecycle, recovery) are functions over
// State.

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "broker/core/run_times.hpp"
#include "broker/core/task_table.hpp"
#include "broker/store/store.hpp"
#include "proto/link.hpp"
#include "proto/messages.hpp"
#include "proto/time.hpp"
#include "runtime/backoff.hpp"

namespace flame::broker {

/// A return address on one of the two ROUTER sockets. Never shown, never trusted.
using Peer = std::string;
enum class Port : uint8_t { kClients, kExecutors };

// ---- what the core wants done
// ---------------------------------------------------------------------------

struct Send {
  Port port = Port::kClients;
  Peer peer;
  proto::Envelope envelope;
  proto::Message message;
};
/// Leave at once: another broker owns the epoch, or the start failed for good.
struct Stop {
  int exit_code = 0;
  std::string reason;
};
struct AcceptLoss {};
/// For Store::make_room().
struct MakeRoom {
  uint64_t batch = 0;
};
/// A line for the log; the core has none of its own.
struct Note {
  bool warning = false;
  std::string text;
};
using Action = std::variant<Send, StoreRead, AwaitDurable, Stop, AcceptLoss, MakeRoom, Note>;

// ---- sessions
// -------------------------------------------------------------------------------------------

/// A client that wants a session's results as they come.
struct Watcher {
  std::string reader;
  uint64_t next = 0;   ///< index of the next entry to send
  uint64_t acked = 0;  ///< all below are consumed
  uint64_t window_bytes = 0;
  uint64_t unacked_bytes = 0;
  std::deque<std::pair<uint64_t, uint64_t>> unacked;  ///< index, bytes
  uint64_t reading = 0;                               ///< tag of a ReadOutputs on its way, or 0
};

/// A recorded result that stands in memory still, and the batch that stores it.
struct RecentResult {
  proto::Results message;
  uint64_t batch = 0;
};

/// The last entries of a session's `done`, without a gap, while a watcher may need them.
struct Recent {
  std::deque<RecentResult> results;
  uint64_t bytes = 0;

  uint64_t first(uint64_t done_end) const {
    return results.empty() ? done_end : results.front().message.index;
  }
  uint64_t end() const { return results.empty() ? 0 : results.back().message.index + 1; }
};

/// What is remembered of one client's submits to one session.
struct Submits {
  proto::SubmitHistory history;
  uint64_t last() const { return history.last.empty() ? 0 : history.last.back().number; }
  void used(const proto::Now& now) { history.used_ms = static_cast<uint64_t>(now.wall_ms()); }
  bool dirty = false;
};

/// Inputs accepted since the last batch closed: they become one run, whoever sent them.
struct FreshRun {
  proto::Run run;
  std::vector<proto::Bytes> pieces;
  uint64_t bytes = 0;
  int64_t sent_us = 0;
  int64_t received_us = 0;
};

/// A client that waits until one task is not any more what it knows (broker/core/task_watches.cpp).
struct TaskWatch {
  Peer peer;
  uint64_t request = 0;
  std::string known;
  bool payloads = false;
  bool asked = false;    ///< the store is being asked what the task is now
  bool changed = false;  ///< ... and it changed since
};

/// What a running task said of itself last.
struct TaskReport {
  uint64_t percent = 0;
  std::string text;
  uint64_t reports = 0;  ///< how many there were
};

struct WaitingRequest {
  Peer peer;
  uint64_t request = 0;
  bool closed = false;
};

struct Session {
  SessionName name;
  proto::SessionUid uid = 0;
  proto::SessionSpec spec;
  std::string owner = "local";
  proto::SessionState state = proto::SessionState::kOpen;
  std::string reason;  ///< why it is suspended, or why its service does not start
  proto::Counters counters;
  int64_t created_ms = 0;
  int64_t closed_ms = 0;
  bool results_dropped = false;

  TaskTable tasks;
  std::vector<FreshRun> fresh;
  std::map<proto::TaskId, proto::Attempt> charged;  ///< only tasks tried before
  std::map<std::string, Submits> submits;           ///< by client id

  /// Letters of the segments before are dropped, all of whose tasks have ended and been read.
  uint64_t first_segment = 0;
  /// Of the others: how many tasks' results were read and dropped.
  std::map<uint64_t, uint64_t> trimmed;
  bool trimmed_dirty = false;

  uint64_t done_first = 0;      ///< index of the first kept entry
  uint64_t done_end = 0;        ///< after the last one, unconfirmed ones included
  uint64_t done_confirmed = 0;  ///< after the last one that may be delivered: Redis confirmed it
                                ///< and, above `stored`, it is on disk or on replicas
  /// Names of kept entries from done_first on (retention `read` only; empty run: not known since a
  /// restart).
  std::deque<proto::Run> done_runs;
  std::map<Peer, Watcher> watchers;
  Recent recent;
  std::map<std::string, std::pair<uint64_t, int64_t>> readers;  ///< reader -> index, last seen (ms)
  std::set<std::string> dirty_readers;
  uint32_t reads_in_flight = 0;  ///< trimming waits for them: it would shift their positions
  uint64_t trimmed_in = 0;  ///< batch of the last trim: positions are right once it is confirmed
  std::vector<WaitingRequest> waiting;

  std::map<std::pair<proto::TaskId, uint64_t>, TaskWatch> task_watches;  ///< by task and its tag
  std::map<proto::TaskId, TaskReport> progress;                          ///< of running tasks
  std::set<proto::TaskId> progress_due;  ///< not told to watchers yet

  std::optional<proto::Bytes> common;  ///< absent: in Redis only
  bool common_reading = false;
  bool has_common = false;
  uint64_t common_version = 1;  ///< one more with every update

  int64_t served_us = 0;
  int64_t bound_us = 0;       ///< first current slot since (mono)
  int64_t idle_since_us = 0;  ///< last moment with tasks (mono)
  uint64_t slots_bound = 0;   ///< wanted slots
  /// Its service starts nowhere: until then (mono) only slots that nobody else wants are tried.
  int64_t start_after_us = 0;
  runtime::Backoff start_backoff{100 * proto::kUsPerMs, 5 * proto::kUsPerSecond};
  std::vector<std::string> at;  ///< executors that have, or may have, a share of it
  uint64_t memory_counted = 0;
  uint64_t plan_wanted = UINT64_MAX;  ///< what the last plan was told

  bool dirty = true;  ///< its fields go into the next batch
  /// Letters of this batch, in order; adjacent equal ones merged.
  std::vector<std::pair<proto::Run, proto::TaskState>> letters;

  /// What is before has no letters any more.
  proto::TaskId first_recorded() const { return first_segment * proto::kSegmentTasks + 1; }
  bool takes_tasks() const { return state == proto::SessionState::kOpen; }
  bool dispatches() const {
    return state == proto::SessionState::kOpen || state == proto::SessionState::kClosing;
  }
  bool finished() const {
    return state == proto::SessionState::kClosed || state == proto::SessionState::kDeleting;
  }
};

// ---- executors
// ------------------------------------------------------------------------------------------

/// A part of a dispatched run that has no result yet.
struct Hand {
  proto::Run run;
  proto::Run ticket_run;
  proto::Attempt attempt = 1;
  std::string epoch;
  std::string token;
  uint64_t bytes = 0;
  int64_t dispatched_us = 0;  ///< wall
  int64_t since_us = 0;       ///< the same (mono); 0: not known
};

/// What one executor has of one session.
struct Share {
  uint64_t window_tasks = 0;
  uint64_t window_bytes = 0;
  uint64_t tasks = 0;  ///< outstanding
  uint64_t bytes = 0;
  std::map<proto::TaskId, Hand> hands;  ///< by first id
  /// Told to stop, not answered yet: nobody waits for them, but the room they take is not free.
  std::vector<proto::Run> cancelled;
  uint64_t slots_wanted = 0;
  uint64_t slots_bound = 0;   ///< echoed
  uint64_t slots_needed = 0;  ///< of the wanted ones: the others are only kept warm
  bool took_back = false;
  bool has_context = false;  ///< SessionContext was sent and is still held there
};

struct Slot {
  uint64_t generation = 0;
  proto::SessionUid wanted = 0;
  proto::SessionUid bound = 0;
  uint64_t bound_generation = 0;
  std::string warm;  ///< application of the process that may still be in it
  int64_t told_us = 0;
  int64_t tried_us = 0;  ///< when the service of `wanted` was asked for, or last did not start
  bool failed = false;   ///< ... it did not
  bool spare = false;    ///< as the last plan said
};

struct Executor {
  std::string id;
  std::string nonce;
  Peer peer;
  proto::Link link;
  std::string only_application;
  std::string address;
  std::string version;
  std::string provider;  ///< see ExecutorHello
  std::string instance;  ///< whom a drain belongs to; see holds.hpp
  proto::Hold hold = proto::Hold::kNone;
  std::vector<Slot> slots;
  std::map<proto::SessionUid, Share> shares;
  proto::ExecutorState state = proto::ExecutorState::kConnected;
  int64_t lease_until_us = 0;
  int64_t connected_ms = 0;
  int64_t seen_ms = 0;
  int64_t beat_due_us = 0;
  int64_t idle_beat_us = 0;  ///< as it was told; see beats.hpp
  uint64_t busy_slots = 0;
  int64_t worked_ms = 0;  ///< when it last had a task (wall), or connected
  int64_t idle_ms = 0;    ///< without a task since then (wall); 0: not for long enough to say so
  bool dirty = true;
  bool bind_due = false;       ///< a Bind leaves with the next plan
  uint64_t dispatched_in = 0;  ///< the last batch that a Dispatch leaves with
  bool gone = false;           ///< libzmq found nobody at its address since its last message

  bool serves() const {
    return state == proto::ExecutorState::kConnected || state == proto::ExecutorState::kDraining;
  }
  bool takes_tasks() const {
    return state == proto::ExecutorState::kConnected && hold == proto::Hold::kNone;
  }
  /// In its hands, of all sessions.
  uint64_t tasks() const {
    uint64_t tasks = 0;
    for (const auto& [uid, share] : shares) tasks += share.tasks;
    return tasks;
  }
};

// ---- clients
// --------------------------------------------------------------------------------------------

struct Client {
  Peer peer;
  std::string id;
  std::string user = "local";  ///< today one; keys come later
  proto::Link link;
  int64_t lease_until_us = 0;
  int64_t beat_due_us = 0;
  uint64_t requests_waiting = 0;  ///< answers to it that wait for a level above `stored`
  /// Large answers that it has not said to have received: sequence, bytes.
  std::deque<std::pair<uint64_t, uint64_t>> unread;
  uint64_t unread_bytes = 0;
};

/// One task of an answer to GetTasks. Input and output point into TaskQuestion::kept.
struct TaskRow {
  proto::TaskId id = 0;
  proto::TaskState state = proto::TaskState::kPending;
  std::string executor;
  proto::Attempt attempt = 0;
  int64_t dispatched_ms = 0;
  int64_t started_ms = 0;
  int64_t ended_ms = 0;
  proto::Code code = proto::Code::kOk;
  std::string reason;
  std::optional<TaskReport> progress;
  std::optional<std::string_view> input;
  std::optional<std::string_view> output;
};

/// A GetTasks whose answer is being read (broker/core/task_questions.cpp).
struct TaskQuestion {
  Peer peer;
  uint64_t request = 0;
  proto::SessionUid uid = 0;
  std::string states;
  bool payloads = false;
  uint64_t limit = 0;
  proto::TaskId next = 1;
  proto::Run asked;      ///< letters of these are being read
  uint64_t letters = 0;  ///< looked at so far
  std::vector<TaskRow> rows;
  std::vector<proto::Run> inputs;
  std::vector<proto::Bytes> kept;
  uint64_t watch = 0;  ///< tag of the TaskWatch that asks; 0: none
  std::string known;   ///< what that one knows
};

/// A GetLogs, until all executors asked have answered (broker/core/logs.cpp).
struct LogQuestion {
  Peer peer;
  uint64_t request = 0;
  std::set<std::string> missing;  ///< executors
  std::string payload;
  bool cut = false;
  int64_t until_us = 0;  ///< mono
};

// ---- all
// ------------------------------------------------------------------------------------------------

struct CoreConfig {
  std::string cluster = "default";
  std::string version;
  uint64_t input_memory_bytes = proto::kInputMemoryBytesMax;
  uint64_t idle_beats_max = proto::kIdleBeatsMax;
  uint64_t replicas = 1;  ///< how many must have what is `replicated`
  /// Letters for made session ids, and lineage: chance is an argument.
  uint64_t seed = 0;
};

/// Counted since the process started; the HTTP thread shows copies.
struct Totals {
  uint64_t submitted = 0, succeed = 0, failed = 0, cancelled = 0;
  uint64_t retried_lost = 0, retried_crashed = 0, returned = 0, duplicates = 0;
  uint64_t batches = 0;
  std::map<std::string, uint64_t> rejected;  ///< messages, by reason code
};

/// When a batch was closed and confirmed (wall, us), for the stamps of results.
struct BatchTimes {
  int64_t written_us = 0;
  int64_t stored_us = 0;
};

/// What waits for a level above `stored`, by the batch that it rests on.
struct LevelQueue {
  struct Group {
    std::vector<Send> sends;  ///< to clients
    std::vector<std::pair<proto::SessionUid, uint64_t>> done;
  };
  std::map<uint64_t, Group> groups;
  uint64_t asked = 0;    ///< of the store
  uint64_t reached = 0;  ///< the store said so
  std::string late;      ///< why it takes longer than it should
};

struct State {
  CoreConfig config;
  Totals totals;
  uint64_t random = 0;

  // Set by recovery.
  bool serving = false;
  bool waits_for_recover = false;
  bool stale =
      false;  ///< from a broken lineage until all is read again: only questions are answered
  std::string not_serving_because = "the broker is starting";
  std::string epoch, lineage, secret;
  uint64_t epoch_number = 0;
  uint64_t sessions_created = 0;
  StoreHealth health;
  int64_t readopt_until_us = 0;  ///< orphans go back to the queue then (mono); 0: none

  std::map<std::string, proto::Application> applications;
  std::map<SessionName, proto::SessionUid> names;
  std::set<SessionName> unreadable;  ///< in Redis, but not as sessions: left alone
  std::map<proto::SessionUid, std::unique_ptr<Session>> sessions;  ///< by uid: oldest first
  std::map<std::string, Executor> executors;                       ///< by id
  std::unordered_map<Peer, std::string> executor_peers;            ///< peer -> id
  std::unordered_map<Peer, Client> clients;

  // The batch that fills.
  std::vector<StoreOp> ops;
  std::vector<Send> after;  ///< leave when it is confirmed
  /// Submits and results have a half of the batch each: neither can keep the other out.
  struct Filling {
    uint64_t tasks = 0, bytes = 0;
    bool full() const {
      return tasks >= proto::kBatchTasksMax / 2 || bytes >= proto::kBatchBytesMax / 2;
    }
  };
  Filling submits_filling, results_filling;
  std::set<proto::SessionUid> touched;
  std::set<proto::SessionUid> reads_due;  ///< need inputs back that are not confirmed yet
  std::set<proto::SessionUid>
      ready;  ///< may have something to dispatch: a window or an input changed
  std::vector<std::pair<proto::SessionUid, uint64_t>> done_filling;
  uint64_t input_memory = 0;  ///< bytes of inputs in memory, all sessions
  uint64_t recent_bytes = 0;  ///< of results in memory, all sessions
  std::map<std::pair<Peer, proto::SessionUid>, std::vector<proto::SubmitAckItem>> acks;
  std::map<std::string, std::vector<proto::RecordedRun>> recorded;  ///< by executor
  int64_t recorded_due_us = 0;  ///< what waits there leaves then at the latest; 0: nothing does
  // The batch in flight.
  uint64_t last_batch = 0;
  bool in_flight = false;
  std::vector<Send> after_flight;
  std::vector<std::pair<proto::SessionUid, uint64_t>> done_in_flight;
  std::map<uint64_t, BatchTimes> batch_times;
  std::array<LevelQueue, 2> levels;  ///< synced, replicated

  /// Sessions with readers to remember and outputs to drop. Nobody waits for that: it rides along
  /// every 50 ms, or a client's acknowledgement would keep its next submit waiting for a batch.
  std::set<proto::SessionUid> housekeeping;
  int64_t housekeeping_due_us = 0;

  bool plan_due = true;
  int64_t plan_again_us = 0;
  /// What a plan looks at: all that have tasks or slots, or want some, and those that were touched
  /// since the last one. Thousands of others may be open, or closed and kept.
  std::map<proto::SessionUid, Session*> to_plan;
  uint64_t slots = 0;            ///< that take tasks, as the last plan saw them
  uint64_t slots_connected = 0;  ///< of all executors
  uint64_t next_tag = 1;
  struct PendingRead {
    proto::SessionUid uid = 0;
    Peer peer;
    uint64_t request = 0;
    std::string application;  ///< of a ReadScale: only its decisions; "": the rows of all
  };
  std::unordered_map<uint64_t, PendingRead> reads;
  std::unordered_map<uint64_t, TaskQuestion> task_questions;  ///< by tag of the read on its way
  uint64_t task_watches = 0;                                  ///< of all sessions
  /// Watched tasks with other letters in the batch that fills, and in the one in flight.
  std::set<std::pair<proto::SessionUid, proto::TaskId>> watched_filling, watched_in_flight;
  /// Tasks that run no more with these batches: until one is stored they are still shown as
  /// running, with what they said last.
  std::vector<std::pair<proto::SessionUid, proto::Run>> ended_filling, ended_in_flight;
  std::set<proto::SessionUid> progress_due;
  int64_t progress_due_us = 0;
  std::map<uint64_t, LogQuestion> log_questions;  ///< by tag

  std::optional<int64_t> clock_offset_us;  ///< wall minus mono, as last seen
  int64_t last_tick_us = 0;
  bool was_late = false;  ///< the last tick was
  int64_t retention_due_us = 0;
  int64_t demand_due_us = 0;
  int64_t demand_refresh_us = 0;
  bool demand_was_busy = true;  ///< at the last look somebody had a task
  std::map<std::string, std::string> demand_written;
  std::map<std::string, RunTimes> run_times;  ///< by application

  std::vector<Action> actions;

  uint64_t confirmed_batch() const { return in_flight ? last_batch - 1 : last_batch; }
  Session* session(proto::SessionUid uid) {
    auto found = sessions.find(uid);
    return found == sessions.end() ? nullptr : found->second.get();
  }
  Session* session_named(const std::string& name) {
    auto found = names.find(name);
    return found == names.end() ? nullptr : session(found->second);
  }
  Executor* executor_at(const Peer& peer) {
    auto found = executor_peers.find(peer);
    return found == executor_peers.end() ? nullptr : &executors.at(found->second);
  }
  const Executor* executor_at(const Peer& peer) const {
    return const_cast<State*>(this)->executor_at(peer);
  }
};

// ---- small verbs everybody needs
// ------------------------------------------------------------------------

/// Leaves with this turn.
void send_now(State& state, Client& client, proto::Message message);
void send_now(State& state, Executor& executor, proto::Message message);
/// Leaves when the batch that fills now is confirmed, if the peer's link is still the same. The
/// sequence number is drawn when it leaves.
void send_after(State& state, Port port, const Peer& peer, proto::Message message);
/// Leaves when the session's durability allows: at once for `memory`, else like send_after; to a
/// client of a session above `stored` like send_acknowledgement.
void send_durable(State& state, const Session& session, Port port, const Peer& peer,
                  proto::Message message);
/// What a client is told of a session of this level: like send_after, and above `stored` when the
/// batch has reached the level.
void send_acknowledgement(State& state, proto::Durability level, const Peer& peer,
                          proto::Message message);
/// Gives each its number on its link; what has no link any more is dropped.
void leave(State& state, std::vector<Send>& sends);
void refuse(State& state, Client& client, uint64_t request, const proto::Error& error);

/// The session's fields go into the next batch.
void touch(State& state, Session& session);
void set_letters(Session& session, const proto::Run& run, proto::TaskState letter);
/// Adds to :events of the session.
void add_event(State& state, Session& session, const proto::Now& now, std::string code,
               std::string text);
/// Null where it was unregistered since.
const proto::Application* application_of(const State& state, const Session& session);
void note(State& state, bool warning, std::string text);
/// The batch that fills gives memory back, so a full store takes it too.
void make_room(State& state);
/// Deterministic (splitmix64, Steele et al. 2014) from the seed that the shell gave.
uint64_t next_random(State& state);

}  // namespace flame::broker

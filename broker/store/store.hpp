// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What the broker remembers, as values: one operation per transition, collected in a batch that is
// applied as one transaction or not at all. RedisStore writes it to Redis; MemoryStore is its twin
// for tests and the simulation; one contract suite runs against both.
//
// Numbers in operations are absolute (a counter's value, a letter at an offset), never differences.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "proto/application.hpp"
#include "proto/bytes.hpp"
#include "proto/codec.hpp"
#include "proto/run.hpp"
#include "proto/states.hpp"
#include "proto/time.hpp"

namespace flame::broker {

using SessionName = std::string;

/// Plain text fields of flame:{S}:session that changed; names as in docs/redis.md.
using TextFields = std::vector<std::pair<std::string, std::string>>;

// ---- operations
// -----------------------------------------------------------------------------------------

/// HSET flame:apps.
struct PutApplication {
  std::string name;
  std::string value;  ///< encode_value(to_value(application))
};
/// HDEL flame:apps, flame:demand.
struct DropApplication {
  std::string name;
};
/// ZADD flame:sessions, HSET :session, SET :common (where not empty).
struct PutSession {
  SessionName session;
  int64_t created_ms = 0;
  TextFields fields;
  proto::Bytes common;
};
/// HSET :session. Once per session and batch; every other operation leaves the counters alone.
struct PutFields {
  SessionName session;
  TextFields fields;
};
/// HSET :input:K run -> array of the elements in `pieces`, one after the other.
struct PutInput {
  SessionName session;
  proto::Run run;
  std::vector<proto::Bytes> pieces;
};
/// SET :common; an empty value UNLINKs it.
struct PutCommon {
  SessionName session;
  proto::Bytes value;
};
/// HDEL :input:K, :options:K. All runs lie in one segment.
struct DropInput {
  SessionName session;
  std::vector<proto::Run> runs;
};
/// SETRANGE :state:K. The run lies in one segment.
struct PutState {
  SessionName session;
  proto::Run run;
  proto::TaskState state = proto::TaskState::kPending;
};
/// HSET :output:K run -> head, outputs, crc; RPUSH :done run.
struct PutOutput {
  SessionName session;
  proto::Run run;
  std::string head;       ///< encode_output_head(..., run.count)
  proto::Bytes elements;  ///< run.count output elements
};
/// HDEL :output:K of the runs (one segment).
struct DropOutput {
  SessionName session;
  std::vector<proto::Run> runs;
};
/// LTRIM :done so that the first kept entry is the one after `count` more are removed; PutFields
/// carries the absolute `done_first` in the same batch.
struct TrimDone {
  SessionName session;
  uint64_t count = 0;
};
/// HSET :attempts task -> charged; 0 removes the entry.
struct PutAttempts {
  SessionName session;
  std::vector<std::pair<proto::TaskId, proto::Attempt>> charged;
};
/// HSET :submits client -> history; an empty value removes the entry.
struct PutSubmits {
  SessionName session;
  std::string client;
  std::string value;  ///< encode_submits()
};
/// HSET :readers reader -> "index seen_ms"; an empty value removes the entry.
struct PutReader {
  SessionName session;
  std::string reader;
  std::string value;
};
/// XADD :events MAXLEN ~ kEventsKept.
struct PutEvent {
  SessionName session;
  int64_t at_ms = 0;
  std::string code;
  std::string text;
};
/// UNLINK :state:K, :input:K, :options:K, :output:K of the segments [first, last].
struct DropSegments {
  SessionName session;
  uint64_t first = 0;
  uint64_t last = 0;
  bool state = true;  ///< false keeps :state:K
};
/// UNLINK of everything that is no segment but :session: results time is over.
struct DropResults {
  SessionName session;
};
/// UNLINK of what DropResults leaves, ZREM flame:sessions: the last operation of a session.
struct DropSession {
  SessionName session;
};
/// HSET flame:executors; an empty value removes the entry.
struct PutExecutor {
  std::string executor;
  std::string value;
};
/// HSET flame:demand.
struct PutDemand {
  std::string application;
  std::string value;
};

using StoreOp = std::variant<PutApplication, DropApplication, PutSession, PutFields, PutCommon,
                             PutInput, DropInput, PutState, PutOutput, DropOutput, TrimDone,
                             PutAttempts, PutSubmits, PutReader, PutEvent, DropSegments,
                             DropResults, DropSession, PutExecutor, PutDemand>;

/// The session that `op` writes to, or "" where it is none's. Points into `op`.
inline std::string_view session_of(const StoreOp& op) {
  return std::visit(
      [](const auto& o) -> std::string_view {
        if constexpr (requires { o.session; }) {
          return o.session;
        } else {
          return {};
        }
      },
      op);
}

/// One transaction. Numbers are given by the core, 1 + the last confirmed, and never skip.
struct Batch {
  uint64_t number = 0;
  std::vector<StoreOp> ops;
};

// ---- what comes back
// ------------------------------------------------------------------------------------

/// One session as read at start. Never payloads.
struct RecoveredSession {
  SessionName session;
  std::vector<std::pair<std::string, std::string>> fields;
  std::vector<std::pair<uint64_t, std::string>>
      states;                      ///< segment -> letters (may be shorter than full)
  std::vector<proto::Run> inputs;  ///< stored input runs, sorted
  uint64_t done_length = 0;        ///< LLEN :done
  std::vector<std::pair<proto::TaskId, proto::Attempt>> attempts;
  std::vector<std::pair<std::string, std::string>> submits;  ///< client -> encode_submits()
  std::vector<std::pair<std::string, std::string>> readers;
};

/// What a confirmed batch means with this store, for sessions that ask for a level.
struct StoreAbilities {
  bool is_volatile = false;  ///< no AOF: `stored` is no more than `memory`
  bool synced = false;       ///< every BatchStored is on disk already (appendfsync always)
  bool can_sync = false;     ///< AwaitDurable{kSynced} is answered: synced, or there is WAITAOF
  uint64_t replicas = 0;     ///< connected and in step now
  friend bool operator==(const StoreAbilities&, const StoreAbilities&) = default;
};

/// The state at start, after the epoch was raised and is on disk.
struct Recovered {
  std::string cluster;
  std::string epoch;  ///< "number-random" of this broker
  uint64_t epoch_number = 0;
  std::string lineage;
  std::string secret;       ///< 16 bytes: key of the tickets
  uint64_t last_batch = 0;  ///< the next batch is this + 1
  bool lineage_broken =
      false;  ///< confirmed writes are missing; `reason` says which. Reads only, until accept_loss
  std::string reason;
  std::vector<std::pair<std::string, std::string>> applications;  ///< name -> encode_value()
  std::vector<std::pair<std::string, std::string>> executors;
  std::vector<RecoveredSession> sessions;  ///< oldest first
  StoreAbilities abilities;
};

/// The batch is applied and Redis said so: what depends on it may leave.
struct BatchStored {
  uint64_t number = 0;
};
/// Answer to AwaitDurable: every batch up to this one is on disk, or on as many replicas as wanted.
struct Durable {
  proto::Durability level = proto::Durability::kSynced;
  uint64_t batch = 0;
};
/// It takes longer than it should; the store goes on asking, and Durable follows when it is so.
struct DurableLate {
  proto::Durability level = proto::Durability::kSynced;
  std::string reason;
};
/// The store cannot write now (down, loading, full, read-only ...) or can again. Batches stay
/// queued meanwhile.
struct StoreHealth {
  bool writable = false;
  bool busy = false;  ///< answers, but refuse submits: memory near its limit, ring full
  bool full = false;  ///< not writable for want of memory: what make_room() names still is
  bool final =
      false;  ///< will not mend by itself: wrong password, foreign cluster, cluster mode ...
  proto::Error error;  ///< why not, for clients and /readyz
  StoreAbilities abilities;
};
/// Redis refuses this session's keys (WRONGTYPE): its operations were left out of the batch;
/// suspend it.
struct SessionRefused {
  SessionName session;
  std::string reason;
};
/// Another broker owns the epoch: stop at once, send nothing.
struct Fenced {
  std::string reason;
};
/// Confirmed writes are gone from a Redis that came back, and the ring does not have them.
struct LineageBroken {
  std::string reason;
};
/// After accept_loss: a new lineage. Everything is read again: a Recovered follows.
struct LineageAccepted {};

/// After close(): the last batch is on disk and marked as a clean stop (or could not be, then
/// `error`).
struct StoreClosed {
  proto::Error error;
};

/// Answer to ReadOutputs: entries [first, first + runs.size()) of `done`. An entry whose output was
/// dropped has an empty value.
struct OutputsRead {
  uint64_t tag = 0;
  uint64_t first = 0;
  std::vector<proto::Run> runs;
  std::vector<proto::Bytes> values;
  proto::Error error;
};
/// Answer to ReadInputs, in the order asked (the first of them, if all would be too much); an empty
/// value where the run is not there.
struct InputsRead {
  uint64_t tag = 0;
  std::vector<proto::Run> runs;
  std::vector<proto::Bytes> values;
  proto::Error error;
};
/// Answer to ReadCommon.
struct CommonRead {
  uint64_t tag = 0;
  proto::Bytes value;
  proto::Error error;
};
/// Answer to ReadEvents: oldest first, maps with at_ms, code, text.
struct EventsRead {
  uint64_t tag = 0;
  proto::List events;
  proto::Error error;
};

/// Answer to ReadStates: shorter than asked where the tasks are not recorded, or not any more.
struct StatesRead {
  uint64_t tag = 0;
  std::string letters;
  proto::Error error;
};
/// Answer to FindOutputs: the entries of `done` that hold one of the tasks, by their first id.
/// Tasks from `end` on were left out, as there would be too much.
struct OutputsFound {
  uint64_t tag = 0;
  std::vector<proto::Run> runs;
  std::vector<proto::Bytes> values;
  proto::TaskId end = UINT64_MAX;
  proto::Error error;
};

/// Answer to ReadScale: what the autoscaler wrote.
struct ScaleRead {
  uint64_t tag = 0;
  proto::List rows;       ///< flame:scale: maps with the application first
  proto::List decisions;  ///< flame:decisions, newest first
  proto::Error error;
};

using StoreEvent =
    std::variant<Recovered, BatchStored, Durable, DurableLate, StoreHealth, SessionRefused, Fenced,
                 LineageBroken, LineageAccepted, StoreClosed, OutputsRead, InputsRead, CommonRead,
                 EventsRead, StatesRead, OutputsFound, ScaleRead>;

// ---- reading
// --------------------------------------------------------------------------------------------

/// `tag` comes back with the answer. Reads see every batch confirmed before they were asked.
struct ReadOutputs {
  uint64_t tag = 0;
  SessionName session;
  uint64_t first = 0;        ///< position in the list as it is now (index minus done_first)
  uint64_t count = 0;        ///< entries at most
  uint64_t index_first = 0;  ///< given back as OutputsRead::first
  /// Of values together; the first entry comes in any case. The maximum asks for no limit.
  uint64_t bytes_max = UINT64_MAX;
};
struct ReadInputs {
  uint64_t tag = 0;
  SessionName session;
  std::vector<proto::Run> runs;
  uint64_t bytes_max = UINT64_MAX;  ///< as in ReadOutputs
};
struct ReadCommon {
  uint64_t tag = 0;
  SessionName session;
};
struct ReadEvents {
  uint64_t tag = 0;
  SessionName session;
};
/// The run lies in one segment.
struct ReadStates {
  uint64_t tag = 0;
  SessionName session;
  proto::Run run;
};
/// Of finished tasks, wherever they are in `done`: looks through the list from its end, a part at a
/// time. For people's questions, not for the task path.
struct FindOutputs {
  uint64_t tag = 0;
  SessionName session;
  std::vector<proto::Run> tasks;    ///< in order, none overlapping
  uint64_t bytes_max = UINT64_MAX;  ///< as in ReadOutputs
};
struct ReadScale {
  uint64_t tag = 0;
  bool decisions = true;  ///< also those; the rows alone are small
};
using StoreRead = std::variant<ReadOutputs, ReadInputs, ReadCommon, ReadEvents, ReadStates,
                               FindOutputs, ReadScale>;

/// Asks when a stored batch reaches a level above `stored`. Answered with Durable, and at once
/// where that is known; asking again, or for a later batch, is fine. After a StoreHealth that is
/// not writable what was answered counts no more: Redis may come back with less, so ask again.
struct AwaitDurable {
  proto::Durability level = proto::Durability::kSynced;
  uint64_t batch = 0;
};

/// Passive: never blocks, never calls back; events are taken with poll(). One thread.
class Store {
 public:
  virtual ~Store() = default;
  /// Connect, raise the epoch, recover. Recovered follows; until then no write.
  virtual void start(proto::Now now) = 0;
  /// Queues a batch. At most one is unconfirmed at a time: the caller waits for BatchStored.
  virtual void write(Batch batch, proto::Now now) = 0;
  virtual void read(StoreRead read, proto::Now now) = 0;
  virtual void await(AwaitDurable wanted, proto::Now now) = 0;
  /// After LineageBroken: go on with what is there.
  virtual void accept_loss(proto::Now now) = 0;
  /// Batch `number`, not written yet perhaps, gives memory back: it and those before it are written
  /// to a Redis that is full, too. That may take it above its limit by what they bring.
  virtual void make_room(uint64_t number, proto::Now now) = 0;
  /// In order: after what is queued, mark a clean stop and let go. StoreClosed follows, within
  /// seconds.
  virtual void close(proto::Now now) = 0;
  /// What happened since the last call, in order.
  virtual std::vector<StoreEvent> poll(proto::Now now) = 0;
};

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A Redis made of plain maps, for tests and the simulation: keyed exactly as the schema,
// deterministic, shared by the MemoryStores of several brokers and outliving them. Told from
// outside when to be slow, away, full or forgetful.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "broker/store/lineage.hpp"
#include "broker/store/store.hpp"

namespace flame::broker {

struct MemoryEvent {
  int64_t at_ms = 0;
  std::string code, text;
  friend bool operator==(const MemoryEvent&, const MemoryEvent&) = default;
};
using MemoryHash = std::map<std::string, std::string, std::less<>>;
using MemoryList = std::deque<std::string>;
using MemoryZset = std::map<std::string, int64_t, std::less<>>;
using MemoryStream = std::deque<MemoryEvent>;
using MemoryValue = std::variant<std::string, MemoryHash, MemoryList, MemoryZset, MemoryStream>;
using MemoryKeys = std::map<std::string, MemoryValue, std::less<>>;

/// What the operation does to the keys, as Redis does it: a key that becomes empty is gone.
void apply(MemoryKeys& keys, const StoreOp& op);

/// Batches that are confirmed but not on disk, as the mapped file of the real store keeps them.
/// Outlives the store.
struct MemoryRing {
  RingState state;
  std::deque<Batch> batches;
};

class MemoryRedis {
 public:
  enum class Outcome : uint8_t { kWaiting, kApplied, kFenced, kStale, kRefused, kLost };
  struct Answer {
    Outcome outcome = Outcome::kWaiting;
    proto::Error error;  ///< kRefused
    bool full = false;   ///< kRefused for want of memory
    std::vector<std::pair<SessionName, std::string>>
        refused;  ///< sessions left out, with the reason
  };
  using Ticket = uint64_t;

  /// The seed makes its run ids and whatever its stores draw.
  explicit MemoryRedis(uint64_t seed = 1);

  // ---- for tests and the simulation
  // -------------------------------------------------------------------
  /// From asking to answer; a batch is applied after half of it, whether its sender still lives or
  /// not.
  void set_delay(int64_t delay_us) { delay_us_ = delay_us; }
  /// While down nothing arrives; what was on the way is lost. Keeps what it holds.
  void set_down(bool down);
  /// Loses the last `changes` batches or claims that are not on disk yet and starts again with
  /// another run id.
  void restart(size_t changes_lost);
  /// Loses everything.
  void wipe();
  /// Refuses every batch (read-only ...) until told otherwise.
  void refuse(std::optional<proto::Error> error) { refusal_ = std::move(error); }
  /// Refuses every batch that does not make room.
  void fill(bool full) { full_ = full; }
  void refuse_session(const SessionName& session) { bad_sessions_.insert(session); }
  /// How many changes may be lost by restart(); older ones are on disk. A replica that is not
  /// stopped lags as far behind.
  void set_unsynced_max(size_t changes) { unsynced_max_ = changes; }
  /// All there is goes to disk now.
  void sync();
  /// From now on there is a replica, in step.
  void add_replica();
  /// While stopped it gets nothing and confirms nothing.
  void stop_replica(bool stopped) { replica_stopped_ = stopped; }
  const MemoryKeys& keys() const { return live_; }
  /// What a restart would find, and what the replica has.
  const MemoryKeys& disk() const { return disk_; }
  const MemoryKeys& replica() const { return replica_; }
  uint64_t random();

  // ---- for MemoryStore
  // --------------------------------------------------------------------------------
  /// Applies what has arrived by now.
  void advance(int64_t now_us);
  Ticket submit(const Epoch& epoch, Batch batch, int64_t now_us, bool overfills);
  /// For replays: as if sent and answered within the call.
  Answer submit_now(const Epoch& epoch, Batch batch);
  const Answer& answer(Ticket ticket) const { return answers_.at(ticket); }
  void forget_answer(Ticket ticket) { answers_.erase(ticket); }
  /// Replaces flame:meta's fields (its batch too) if it still is as `before` says. At once.
  bool claim(const Meta& before, const Meta& after);
  Meta meta() const;
  bool down() const { return down_; }
  /// Rises when connections break.
  uint64_t connections() const { return connections_; }
  int64_t delay_us() const { return delay_us_; }
  const std::string& run_id() const { return run_id_; }
  /// Batches up to this one can no longer be lost by restart().
  uint64_t on_disk() const;
  const std::optional<proto::Error>& refusal() const { return refusal_; }
  uint64_t replicas() const { return has_replica_ ? 1 : 0; }
  /// WAIT: the replica takes over what there is. False: it does not answer.
  bool replicate();

 private:
  struct Change {
    std::vector<StoreOp> ops;
    uint64_t batch = 0;
    std::optional<MetaFields> meta;
  };
  struct OnTheWay {
    int64_t arrive_us;
    Ticket ticket;
    uint64_t connection;
    Epoch epoch;
    Batch batch;
    bool overfills;
  };

  void arrive(OnTheWay& request);
  void commit(Change change);
  static void apply(MemoryKeys& keys, const Change& change);

  MemoryKeys live_, disk_, replica_;
  std::deque<Change> unsynced_, unreplicated_;
  bool has_replica_ = false, replica_stopped_ = false, replica_behind_ = false;
  size_t unsynced_max_ = 32;
  std::deque<OnTheWay> on_the_way_;
  std::map<Ticket, Answer> answers_;
  Ticket next_ticket_ = 1;
  uint64_t random_state_;
  std::string run_id_;
  uint64_t connections_ = 1;
  int64_t delay_us_ = 0;
  bool down_ = false;
  std::optional<proto::Error> refusal_;
  bool full_ = false;
  std::set<SessionName> bad_sessions_;
};

}  // namespace flame::broker

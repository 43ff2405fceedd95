// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The twin of RedisStore for tests and the simulation: the same decisions, no socket, no clock, no
// chance but the seed of its MemoryRedis. Destroying it is a SIGKILL: what was sent still arrives.

#include <deque>
#include <memory>
#include <optional>

#include "broker/store/memory_redis.hpp"
#include "broker/store/store.hpp"

namespace flame::broker {

struct MemoryStoreConfig {
  std::string cluster = "flame";
  int64_t takeover_grace_us = 0;
};

class MemoryStore : public Store {
 public:
  /// `redis` outlives the store. `ring` null: a broker that lost its ring.
  MemoryStore(MemoryRedis& redis, std::shared_ptr<MemoryRing> ring, MemoryStoreConfig config = {});

  void start(proto::Now now) override;
  void write(Batch batch, proto::Now now) override;
  void read(StoreRead read, proto::Now now) override;
  void await(AwaitDurable wanted, proto::Now now) override;
  void accept_loss(proto::Now now) override;
  void make_room(uint64_t number, proto::Now now) override;
  void close(proto::Now now) override;
  std::vector<StoreEvent> poll(proto::Now now) override;

  /// When poll() has something to do next by itself, or INT64_MAX. While Redis is down: its return
  /// is not seen.
  int64_t next_us() const;

 private:
  enum class Phase : uint8_t { kIdle, kStarting, kReady, kDown, kBroken, kOver };
  struct InFlight {
    Batch batch;
    MemoryRedis::Ticket ticket = 0;  ///< 0: refused, to be sent again at due_us
    int64_t due_us = 0;
  };
  struct PendingRead {
    StoreRead read;
    int64_t due_us;
  };
  /// A level above `stored`: what is asked about, and when its round is answered (0: none is).
  struct DurableWait {
    uint64_t wanted = 0, reached = 0, round = 0;
    int64_t due_us = 0;
  };

  /// Redis is there, and answers reads at least.
  bool serves() const { return phase_ == Phase::kReady || phase_ == Phase::kBroken; }
  void step(proto::Now now);
  void look(proto::Now now);
  void own(const Meta& before, const Decision& decision, proto::Now now);
  void look_again(proto::Now now);
  void look_for_another_owner(proto::Now now);
  bool replay(uint64_t from);
  void remember(const Batch& batch);
  void emit_recovered(const std::string& broken_reason);
  void send_next(proto::Now now);
  void take_answer(proto::Now now);
  void confirm(uint64_t number);
  void lose_connection(proto::Now now);
  void answer_reads(proto::Now now);
  StoreAbilities abilities() const;
  void say_health(bool writable, proto::Error error = {}, bool full = false);
  void await_more(proto::Durability level, proto::Now now);
  void answer_wait(proto::Durability level, proto::Now now);
  DurableWait& wait_of(proto::Durability level) {
    return level == proto::Durability::kReplicated ? replicated_ : synced_;
  }
  void fence(const std::string& reason);
  void end_lineage(const std::string& reason);
  void finish_close();

  MemoryRedis& redis_;
  std::shared_ptr<MemoryRing> ring_;
  MemoryStoreConfig config_;
  Phase phase_ = Phase::kIdle;
  Meta meta_;  ///< as this store wrote it last
  uint64_t confirmed_ = 0;
  uint64_t connection_ = 0;
  int64_t due_us_ = 0;        ///< of a look
  int64_t owner_due_us_ = 0;  ///< of a look whether another broker took over
  bool healthy_ = true;
  bool closing_ = false;
  std::optional<InFlight> in_flight_;
  std::deque<Batch> queue_;
  uint64_t room_to_ = 0;
  std::deque<PendingRead> reads_;
  DurableWait synced_, replicated_;
  std::vector<StoreEvent> events_;
};

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Waits for one level above `stored` on a connection of its own, because WAIT and WAITAOF block
// theirs. They count from the caller's own last write; so a round is, in one write,
//
//   HMGET flame:meta epoch batch      this Redis has the batch, and is ours still
//   HSET flame:durable LEVEL batch    a write of this connection behind it
//   WAITAOF 1 0 ms | WAIT n ms
//
// One round is on its way at a time; what is asked for meanwhile is the next one's. Opened when
// first asked for. Owner: RedisStore.

#include <cstdint>
#include <functional>
#include <string>

#include "proto/states.hpp"
#include "runtime/backoff.hpp"
#include "runtime/event_loop.hpp"
#include "runtime/redis_connection.hpp"

namespace flame::broker {

class RedisDurable {
 public:
  struct Owner {
    std::function<void(uint64_t batch)> reached;
    std::function<void(std::string reason)> late;  ///< and goes on
  };
  /// `replicas`: how many must have it; for kReplicated.
  RedisDurable(runtime::EventLoop& loop, runtime::RedisAddress address, proto::Durability level,
               uint64_t replicas, Owner owner);
  ~RedisDurable();

  /// Redis has confirmed the batch. `reached` follows, perhaps from inside this call.
  void await(uint64_t batch);
  /// Redis is there and of this epoch: what was asked for is asked.
  void resume(std::string epoch);
  /// Nothing is asked until resume(), and nothing counts as reached: another Redis may answer then.
  void pause();
  /// A new lineage: batch numbers may have become smaller.
  void forget();

 private:
  void ask();
  void wait(runtime::RedisRequest request);
  void on_round(runtime::RedisReplies&& replies);
  void on_wait(const runtime::RedisReply& reply);
  void try_later(std::string reason);

  runtime::EventLoop& loop_;
  std::string place_;
  proto::Durability level_;
  uint64_t replicas_;
  Owner owner_;
  runtime::RedisConnection connection_;
  runtime::Backoff backoff_{50'000, 1'000'000};
  runtime::EventLoop::TimerId retry_timer_ = 0;
  std::string epoch_;  ///< "" while paused
  bool opening_ = false;
  uint64_t wanted_ = 0;
  uint64_t reached_ = 0;
  uint64_t round_ = 0;  ///< the batch of the round on its way, or 0
};

}  // namespace flame::broker

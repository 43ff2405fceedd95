// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What a Redis says about itself, whether it is one that may be used, and what its refusals mean.
// Pure.

#include <cstdint>
#include <string>
#include <string_view>

#include "broker/store/fsync_watch.hpp"
#include "broker/store/store.hpp"
#include "runtime/redis_connection.hpp"

namespace flame::broker {

/// For each of the store's connections.
inline constexpr int64_t kConnectTimeoutUs = 3 * proto::kUsPerSecond;

struct RedisFacts {
  std::string version;
  std::string run_id;
  int64_t uptime_us = 0;
  bool loading = false;
  bool replica = false;
  bool cluster = false;
  bool aof = false;
  bool rewriting = false;  ///< its append-only file is being written anew, or that has failed
  uint64_t used_memory = 0;
  uint64_t maxmemory = 0;  ///< 0: no limit
  std::string policy;
  uint64_t replicas = 0;  ///< connected and in step
  AofLook file;
  std::string appendfsync;       ///< "" where CONFIG is not allowed
  bool fsync_on_rewrite = true;  ///< false: even `always` pauses while the AOF is rewritten

  /// Every confirmed write is on disk.
  bool synced() const { return aof && appendfsync == "always" && fsync_on_rewrite; }
  bool has_waitaof() const;
  StoreAbilities abilities() const { return {!aof, synced(), synced() || has_waitaof(), replicas}; }
  bool memory_near_limit() const;
  /// It takes nothing any more but what gives memory back.
  bool full() const { return maxmemory != 0 && used_memory >= maxmemory; }
  /// A script may ask to run all the same: `flags=allow-oom`.
  bool writes_when_full() const { return is_at_least(7, 0); }

 private:
  bool is_at_least(uint64_t major, uint64_t minor) const;
};

/// Takes over the lines of an INFO reply, of any sections.
void take_info(RedisFacts& facts, std::string_view info);
/// Takes over a CONFIG GET reply.
void take_config(RedisFacts& facts, const runtime::RedisReply& reply);

struct Refusal {
  proto::Error error;
  bool final = false;  ///< needs a person; still tried again, rarely
  bool full = false;   ///< for want of memory
};
/// Nothing where this Redis may be used.
std::optional<Refusal> check_facts(const RedisFacts& facts, bool allow_volatile,
                                   std::string_view place);

/// The sentence for an error reply: what it means and what to do. `place` is the address without
/// password.
Refusal explain(std::string_view error_text, std::string_view place);

}  // namespace flame::broker

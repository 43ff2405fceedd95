// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The private Redis: its settings, and the few words of its language that the supervisor needs.

#include <cstdint>
#include <string>

namespace flame::flmctl {

struct RedisPlan {
  std::string folder, socket, appendfsync;
  uint64_t memory_bytes = 0;  ///< of the machine, or of the container
  uint64_t disk_free_bytes = 0;
};

/// redis.conf, with the reasons in it.
std::string redis_settings(const RedisPlan& plan);
/// Of the machine, or the container's limit where that is lower.
uint64_t memory_here_bytes();

/// Ends the connection itself, so that the answer has an end.
std::string redis_ping();
std::string redis_info();
enum class RedisAnswer : uint8_t { kNone, kLoading, kReady };
RedisAnswer redis_answer(const std::string& answer);
/// A number from the answer to INFO, 0 if it is not there.
uint64_t redis_info_number(const std::string& info, const std::string& field);

}  // namespace flame::flmctl

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Reads the whole state at start, a few bytes per task and never payloads, with many sessions under
// way at once.

#include <functional>
#include <string>
#include <vector>

#include "broker/store/store.hpp"
#include "runtime/redis_connection.hpp"

namespace flame::broker {

class RedisRecovery {
 public:
  struct Found {
    Recovered recovered;  ///< applications, executors, sessions; the rest is the caller's
    std::vector<SessionRefused> refused;  ///< sessions whose keys are not of the right type
  };
  using Done = std::function<void(proto::Result<Found>)>;

  /// `connection` is open and is closed before this ends; `done` is called at most once and may end
  /// this.
  RedisRecovery(runtime::RedisConnection& connection, Done done);
  void start();

 private:
  struct Reading {
    RecoveredSession session;
    std::string refused;
    std::vector<uint64_t> segments;
    size_t outstanding = 0;
  };

  void send(size_t index, runtime::RedisRequest&& request,
            void (RedisRecovery::*take)(size_t, runtime::RedisReplies&&));
  void take_names(runtime::RedisReplies&& replies);
  void next_sessions();
  void take_session(size_t index, runtime::RedisReplies&& replies);
  void take_sizes(size_t index, runtime::RedisReplies&& replies);
  void take_inputs(size_t index, runtime::RedisReplies&& replies);
  void scan_inputs(size_t index, uint64_t segment, const std::string& cursor);
  void finish_session(size_t index);
  bool good(size_t index, const runtime::RedisReply& reply);
  void add_run(size_t index, std::string_view name);

  runtime::RedisConnection& connection_;
  Done done_;
  Found found_;
  std::vector<Reading> sessions_;
  size_t next_ = 0;
  size_t finished_ = 0;
};

}  // namespace flame::broker

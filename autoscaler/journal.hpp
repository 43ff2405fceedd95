// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What is written down of decisions: one entry of flame:decisions whenever something is done or the
// reason changes, and flame:scale as it is now. While Redis is away entries wait, so that a freeze
// is in the history, too.

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "autoscaler/core/policy.hpp"
#include "proto/value.hpp"
#include "runtime/redis_connection.hpp"

namespace flame::autoscaler {

class Journal {
 public:
  explicit Journal(bool dry_run) : dry_run_(dry_run) {}

  /// Returns the decisions that are news, for the log.
  std::vector<Decision> note(const std::vector<Decision>& decisions, proto::Now now);
  /// What Redis lacks; no commands if nothing. Written again unless kept() follows.
  runtime::RedisRequest request(proto::Now now);
  void kept();

 private:
  bool dry_run_;
  std::map<std::string, Decision> last_;
  std::deque<std::vector<std::string>> entries_;  ///< XADD commands
  size_t sent_ = 0;
  std::map<std::string, proto::Map> rows_, written_;  ///< application -> row without its time
  int64_t written_us_ = 0;
};

}  // namespace flame::autoscaler

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What the instances of an executor wrote: of those that run, and of the last ones that ended.

#include <deque>
#include <map>
#include <string>
#include <utility>

#include "executor/core/types.hpp"
#include "shims/output_log.hpp"

namespace flame::executor {

class Logs {
 public:
  explicit Logs(std::string executor) : executor_(std::move(executor)) {}

  /// Kept, if it wrote anything; the oldest makes room.
  void ended(InstanceId id, const shims::OutputLog& log);
  LogsRead answer(const ReadLogs& question,
                  const std::map<InstanceId, const shims::OutputLog*>& running) const;

 private:
  std::string executor_;
  std::deque<std::pair<InstanceId, shims::OutputLog>> ended_;
};

}  // namespace flame::executor

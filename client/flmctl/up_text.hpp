// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What `up` and `status` show to a person.

#include <cstdint>
#include <string>

#include "client/flmctl/cluster_folder.hpp"
#include "proto/time.hpp"

namespace flame::flmctl {

/// A line a process, where it is, and what to type next.
std::string up_summary(const ClusterStatus& status, bool detached, const std::string& default_data);

/// What `status` adds to what the supervisor says; 0 and "" where unknown.
struct ClusterHealth {
  uint64_t memory_bytes = 0, memory_max_bytes = 0;  ///< of Redis
  uint64_t append_only_bytes = 0;
  uint64_t disk_free_bytes = 0;
  /// What the broker's /readyz says; its processes may all run and serve nobody.
  bool ready = false;
  std::string ready_text;
};
std::string status_text(const ClusterStatus& status, const ClusterHealth& health, proto::Now now);
std::string status_json(const ClusterStatus& status, const ClusterHealth& health, proto::Now now);

/// 1.4 GiB
std::string size_text(uint64_t bytes);

}  // namespace flame::flmctl

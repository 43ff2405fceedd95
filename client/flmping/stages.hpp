// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Where the time of a task goes, from the stamps that come with results, and how long tasks take as
// a whole. One sample per run; percentiles weigh a sample with its tasks. Pure.

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "proto/messages.hpp"

namespace flame::ping {

/// In the order in which a task meets them.
inline constexpr std::array<std::string_view, 7> kStages = {
    "client", "broker", "stored", "dispatched", "service", "result_stored", "delivered"};
inline constexpr std::array<std::string_view, 7> kStageMeanings = {
    "sent to received",
    "received to written to the store",
    "until the store confirmed it",
    "until a service had it",
    "in the service",
    "until its result was confirmed",
    "until it was back here"};

struct Percentiles {
  double p50 = 0, p90 = 0, p99 = 0, max = 0;  ///< ms
};

class Latencies {
 public:
  void add(int64_t us, uint64_t tasks) { samples_.push_back({us, tasks}); }
  bool empty() const { return samples_.empty(); }
  Percentiles percentiles() const;

 private:
  struct Sample {
    int64_t us;
    uint64_t tasks;
  };
  std::vector<Sample> samples_;
};

class Stages {
 public:
  /// Results whose submit asked for stamps; `got_us` is the Unix time now. Others are ignored.
  void add(const proto::Results& results, int64_t got_us);

  bool empty() const { return samples_[0].empty(); }
  /// The median of a stage, ms.
  double median_ms(size_t stage) const;
  /// What the first run waited between store and service: the bind and, if none ran, the start of
  /// one, ms.
  double first_bind_ms() const;
  const Latencies& latencies() const { return latencies_; }

 private:
  std::array<std::vector<int64_t>, kStages.size()> samples_;
  std::optional<int64_t> first_dispatch_us_;
  Latencies latencies_;
};

}  // namespace flame::ping

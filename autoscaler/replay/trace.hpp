// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Demand of one application over time: what came when, and how long a task of it takes. Pure.
//
//   # seconds, tasks, seconds a task
//   0, 100, 0.5
//   63.2, 1, 30

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proto/error.hpp"

namespace flame::autoscaler {

struct Arrival {
  int64_t at_us = 0;
  uint64_t tasks = 1;
  int64_t run_us = 0;  ///< of each
  friend bool operator==(const Arrival&, const Arrival&) = default;
};
/// By time.
using Trace = std::vector<Arrival>;

/// Lines of three numbers, in any order of time; # begins a comment. An error names the line.
proto::Result<Trace> read_trace(std::string_view text);

/// The kinds of demand that are built in.
enum class Demands : uint8_t {
  kBursty,       ///< jobs of 20 to 600 tasks now and then, tasks of 0.2 to 20 s
  kPeriodic,     ///< a day's wave of jobs, few at night
  kLongTailed,   ///< few jobs, sizes and run times over four orders of magnitude
  kAdversarial,  ///< comes just when the last executor has left; kinds of work change
  kIdle,         ///< a task each few hours
};
constexpr Demands kEveryDemands[] = {Demands::kBursty, Demands::kPeriodic, Demands::kLongTailed,
                                     Demands::kAdversarial, Demands::kIdle};
std::string_view name_of(Demands kind);

/// `gap_us`: what kAdversarial waits until executors have left.
Trace make_trace(Demands kind, uint64_t seed, int64_t length_us, int64_t gap_us);

}  // namespace flame::autoscaler

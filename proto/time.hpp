// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Time as an argument: nothing outside runtime/ reads a clock.

#include <cstdint>

namespace flame::proto {

/// The two clocks of one loop turn. Leases, time-outs and back-off use `mono_us`; `wall_us` is only
/// shown, stored and used for retention in hours.
struct Now {
  int64_t mono_us = 0;  ///< CLOCK_MONOTONIC, microseconds
  int64_t wall_us = 0;  ///< Unix time, microseconds

  int64_t wall_ms() const { return wall_us / 1000; }
};

inline constexpr int64_t kUsPerMs = 1000;
inline constexpr int64_t kUsPerSecond = 1'000'000;

}  // namespace flame::proto

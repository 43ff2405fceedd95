// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// How long tasks of an application take: a quantile over the last thousand or so. Older ones fade
// with each newer one, not with time, so that an application is known still after a quiet night.

#include <array>
#include <cstddef>
#include <cstdint>

namespace flame::broker {

class RunTimes {
 public:
  /// `count` tasks that took `us` each.
  void add(int64_t us, uint64_t count);
  /// Above so much of the weight; 0 while nothing is known. Steps of a fifth: it is written to
  /// Redis where it changes.
  int64_t quantile_us(double part) const;
  /// The step that `us` lies in.
  static int64_t step_of(int64_t us);

 private:
  static constexpr size_t kStepsPerOctave = 4, kSteps = 44 * kStepsPerOctave;
  static size_t index_of(int64_t us);
  static int64_t us_of(size_t index);

  std::array<double, kSteps> weights_{};
  double total_ = 0;
  double unit_ = 1;  ///< weight of the next task: it grows, which is cheaper than all others fading
};

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// How long the tasks of a session take here, and what follows from it: how many go to the service
// at once, and how many are asked for ahead. A task's time is its frame's divided by the frame's
// tasks.

#include <array>
#include <cstdint>

namespace flame::executor {

class RunTime {
 public:
  void add(uint64_t tasks, int64_t us, uint64_t output_bytes);

  bool measured() const { return tasks_ > 0; }
  double mean_us() const;
  /// What 99 % of the recent tasks stayed below; a power of 2^(1/2), rounded up.
  double p99_us() const;

  /// As many tasks as fit in frame_target_us even if they are slow ones; 1 until measured.
  uint64_t frame_tasks() const;
  /// Tasks worth ahead_target_us for one slot; none until measured and none of those that take a
  /// second.
  uint64_t ahead_tasks() const;

 private:
  static constexpr int kBuckets = 96;  ///< two for each doubling, from 1/256 us on: up to days
  static int bucket_of(double us);
  static double upper_of(int bucket);
  void age();

  std::array<double, kBuckets> weight_{};  ///< tasks per bucket; old ones fade
  double tasks_ = 0, us_ = 0, bytes_ = 0;
  uint32_t frames_since_ = 0;
};

}  // namespace flame::executor

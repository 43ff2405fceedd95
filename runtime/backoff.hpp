// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

#include <algorithm>
#include <cstdint>

namespace flame::runtime {

/// Waiting times that double from `first_us` to `most_us`. Pure: the caller has the clock.
class Backoff {
 public:
  Backoff(int64_t first_us, int64_t most_us) : first_us_(first_us), most_us_(most_us) {}

  /// The wait before the next try.
  int64_t next_us() {
    wait_us_ = wait_us_ == 0 ? first_us_ : std::min(most_us_, wait_us_ * 2);
    return wait_us_;
  }
  void reset() { wait_us_ = 0; }
  bool waiting() const { return wait_us_ != 0; }

 private:
  int64_t first_us_, most_us_, wait_us_ = 0;
};

}  // namespace flame::runtime

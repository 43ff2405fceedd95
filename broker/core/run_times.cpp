// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/run_times.hpp"

#include <algorithm>
#include <cmath>

namespace flame::broker {

namespace {
constexpr double kTasksRemembered = 1000;
constexpr double kUnitMost = 1e100;
}  // namespace

size_t RunTimes::index_of(int64_t us) {
  double steps = std::log2(static_cast<double>(std::max<int64_t>(1, us))) * kStepsPerOctave;
  return std::min(kSteps - 1, static_cast<size_t>(std::lround(steps)));
}

int64_t RunTimes::us_of(size_t index) {
  return std::llround(std::exp2(static_cast<double>(index) / kStepsPerOctave));
}

int64_t RunTimes::step_of(int64_t us) { return us <= 0 ? 0 : us_of(index_of(us)); }

void RunTimes::add(int64_t us, uint64_t count) {
  double weight = static_cast<double>(count) * unit_;
  weights_[index_of(us)] += weight;
  total_ += weight;
  unit_ *= std::exp(static_cast<double>(count) / kTasksRemembered);
  if (unit_ < kUnitMost) return;
  for (auto& old : weights_) old /= unit_;
  total_ /= unit_;
  unit_ = 1;
}

int64_t RunTimes::quantile_us(double part) const {
  if (total_ <= 0) return 0;
  double below = 0;
  for (size_t i = 0; i < kSteps; i++) {
    below += weights_[i];
    if (weights_[i] > 0 && below >= total_ * part * (1 - 1e-9)) return us_of(i);
  }
  return 0;
}

}  // namespace flame::broker

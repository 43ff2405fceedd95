// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "executor/core/run_time.hpp"

#include <algorithm>
#include <cmath>

#include "proto/limits.hpp"

namespace flame::executor {

namespace {
// Half of the weight fades at whichever comes first: fast tasks by their number, slow ones by their
// frames.
constexpr double kAgeTasks = 8192;
constexpr uint32_t kAgeFrames = 128;
constexpr double kFirstUpperUs = 1.0 / 256;
// Outputs that one frame may bring back: bounds the executor's memory, not the tasks' time.
constexpr double kFrameOutputBytes = 4.0 * proto::MiB;
constexpr double kLongTaskUs = 1'000'000;
}  // namespace

int RunTime::bucket_of(double us) {
  if (us <= kFirstUpperUs) return 0;
  return std::min(kBuckets - 1, static_cast<int>(std::ceil(2 * std::log2(us / kFirstUpperUs))));
}

double RunTime::upper_of(int bucket) { return kFirstUpperUs * std::exp2(bucket / 2.0); }

void RunTime::add(uint64_t tasks, int64_t us, uint64_t output_bytes) {
  if (tasks == 0) return;
  auto count = static_cast<double>(tasks);
  auto time = static_cast<double>(std::max<int64_t>(us, 1));
  weight_[static_cast<size_t>(bucket_of(time / count))] += count;
  tasks_ += count;
  us_ += time;
  bytes_ += static_cast<double>(output_bytes);
  frames_since_++;
  if (tasks_ >= kAgeTasks || frames_since_ >= kAgeFrames) age();
}

void RunTime::age() {
  for (auto& weight : weight_) weight /= 2;
  tasks_ /= 2;
  us_ /= 2;
  bytes_ /= 2;
  frames_since_ = 0;
}

double RunTime::mean_us() const { return measured() ? us_ / tasks_ : 0; }

double RunTime::p99_us() const {
  double above = 0;
  for (int bucket = kBuckets - 1; bucket > 0; bucket--) {
    above += weight_[static_cast<size_t>(bucket)];
    if (above > tasks_ * 0.01) return upper_of(bucket);
  }
  return upper_of(0);
}

uint64_t RunTime::frame_tasks() const {
  if (!measured()) return 1;
  double by_time = static_cast<double>(proto::kFrameTargetUs) / p99_us();
  double by_bytes = kFrameOutputBytes * tasks_ / std::max(bytes_, 1.0);
  double tasks = std::min({by_time, by_bytes, static_cast<double>(proto::kRunTasksMax)});
  return std::max<uint64_t>(1, static_cast<uint64_t>(tasks));
}

uint64_t RunTime::ahead_tasks() const {
  if (!measured() || mean_us() > kLongTaskUs) return 0;
  double tasks = std::ceil(static_cast<double>(proto::kAheadTargetUs) / mean_us());
  return static_cast<uint64_t>(std::min(tasks, static_cast<double>(proto::kWindowTasksMax)));
}

}  // namespace flame::executor

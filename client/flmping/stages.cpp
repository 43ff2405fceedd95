// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmping/stages.hpp"

#include <algorithm>

namespace flame::ping {

namespace {

// Positions in Results.stamps.
enum Stamp : size_t {
  kSent,
  kReceived,
  kWritten,
  kStored,
  kStarted,
  kEnded,
  kResultWritten,
  kResultStored
};
constexpr size_t kStamps = kResultStored + 1;
constexpr size_t kDispatched = 3;

double to_ms(int64_t us) { return static_cast<double>(us) / 1e3; }

}  // namespace

Percentiles Latencies::percentiles() const {
  if (samples_.empty()) return {};
  auto sorted = samples_;
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.us < b.us; });
  uint64_t total = 0;
  for (const auto& sample : sorted) total += sample.tasks;
  // The smallest sample that at least `share` of all tasks do not exceed.
  auto at = [&](double share) {
    uint64_t below = 0;
    for (const auto& sample : sorted) {
      below += sample.tasks;
      if (static_cast<double>(below) >= share * static_cast<double>(total)) return to_ms(sample.us);
    }
    return to_ms(sorted.back().us);
  };
  return {at(0.5), at(0.9), at(0.99), to_ms(sorted.back().us)};
}

void Stages::add(const proto::Results& results, int64_t got_us) {
  if (results.stamps.size() < kStamps) return;
  // The broker remembers only so many batches: without its times there are no spans.
  if (results.stamps[kWritten] == 0 || results.stamps[kStored] == 0) return;
  auto at = [&](size_t i) { return static_cast<int64_t>(results.stamps[i]); };
  const std::array<std::pair<int64_t, int64_t>, kStages.size()> spans = {
      std::pair(at(kSent), at(kReceived)), {at(kReceived), at(kWritten)},
      {at(kWritten), at(kStored)},         {at(kStored), at(kStarted)},
      {at(kStarted), at(kEnded)},          {at(kEnded), at(kResultStored)},
      {at(kResultStored), got_us}};
  for (size_t i = 0; i < spans.size(); i++) {
    // Clocks of two machines may disagree; a span is never shown below zero.
    samples_[i].push_back(std::max<int64_t>(0, spans[i].second - spans[i].first));
  }
  if (!first_dispatch_us_) first_dispatch_us_ = samples_[kDispatched].back();
  latencies_.add(std::max<int64_t>(0, got_us - at(kSent)), results.run.count);
}

double Stages::median_ms(size_t stage) const {
  auto values = samples_[stage];
  if (values.empty()) return 0;
  auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return to_ms(*middle);
}

double Stages::first_bind_ms() const { return to_ms(first_dispatch_us_.value_or(0)); }

}  // namespace flame::ping

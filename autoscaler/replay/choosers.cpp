// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/replay/choosers.hpp"

#include <algorithm>
#include <cmath>

namespace flame::autoscaler {

namespace {
constexpr int64_t kLookUs = 15 * proto::kUsPerSecond, kDownWindowUs = 300 * proto::kUsPerSecond;
constexpr int64_t kPollUs = 30 * proto::kUsPerSecond, kKedaCooldownUs = 300 * proto::kUsPerSecond;
constexpr double kTolerance = 0.1;
constexpr uint64_t kPodsUp = 4;
constexpr const char* kApplication = "replayed";

uint64_t living(const Scene& scene) {
  return static_cast<uint64_t>(
      std::count_if(scene.members.begin(), scene.members.end(),
                    [](const Member& m) { return m.state != MemberState::kLeaving; }));
}
}  // namespace

Step OurPolicy::choose(const Scene& scene) {
  Observation seen;
  Demand& demand = seen.demand[kApplication];
  demand.pending = scene.pending;
  demand.running = demand.busy = scene.running;
  demand.usable = demand.unfinished();
  demand.run_us = scene.run_us;
  seen.members = scene.members;
  for (auto& member : seen.members) member.application = kApplication;
  auto decisions = scaler_.decide(seen, scene.now);
  Step step;
  auto take = [](std::vector<std::string>& to, const std::vector<std::string>& ids) {
    to.insert(to.end(), ids.begin(), ids.end());
  };
  for (auto& decision : decisions) {
    step.add += decision.add;
    take(step.retire, decision.retire);
    take(step.cordon, decision.cordon);
    take(step.restore, decision.restore);
  }
  return step;
}

Step PodAutoscaler::choose(const Scene& scene) {
  uint64_t have = living(scene);
  if (have == 0) return at_zero(scene);
  Step step;
  if (to_zero(scene)) {
    for (const auto& member : scene.members) step.retire.push_back(member.id);
    return step;
  }
  if (scene.now.mono_us - looked_us_ < kLookUs) return {};
  looked_us_ = scene.now.mono_us;
  double exact = wanted(scene, have);
  auto wish = static_cast<uint64_t>(std::ceil(exact - 1e-9));
  if (std::abs(exact / static_cast<double>(have) - 1) <= kTolerance) wish = have;
  wish = std::clamp<uint64_t>(wish, 1, max_);
  wishes_.emplace_back(looked_us_, wish);
  while (looked_us_ - wishes_.front().first > kDownWindowUs) wishes_.pop_front();
  if (wish > have) {
    step.add = std::min(wish - have, std::max(have, kPodsUp));
    return step;
  }
  for (const auto& [at, wished] : wishes_) wish = std::max(wish, wished);
  if (wish >= have) return {};
  std::vector<const Member*> order;
  for (const auto& member : scene.members) order.push_back(&member);
  std::stable_sort(order.begin(), order.end(), [](const Member* a, const Member* b) {
    bool a_starts = a->state == MemberState::kStarting,
         b_starts = b->state == MemberState::kStarting;
    return a_starts != b_starts ? a_starts : a->asked_us > b->asked_us;
  });
  for (uint64_t i = 0; i < have - wish; i++) step.retire.push_back(order[i]->id);
  return step;
}

double CpuAutoscaler::wanted(const Scene& scene, uint64_t) {
  return static_cast<double>(scene.running) / static_cast<double>(slots_) / target_;
}

double KedaList::wanted(const Scene& scene, uint64_t) {
  return static_cast<double>(scene.pending) / list_length_;
}

Step KedaList::at_zero(const Scene& scene) {
  if (scene.now.mono_us - polled_us_ < kPollUs) return {};
  polled_us_ = scene.now.mono_us;
  if (scene.pending == 0) return {};
  active_us_ = scene.now.mono_us;
  return {.add = 1};
}

bool KedaList::to_zero(const Scene& scene) {
  if (scene.pending > 0) active_us_ = scene.now.mono_us;
  return scene.now.mono_us - active_us_ > kKedaCooldownUs;
}

}  // namespace flame::autoscaler

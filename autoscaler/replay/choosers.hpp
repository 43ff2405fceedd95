// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Who decides in a replay: our policy, and what Kubernetes users have instead, by the formulas that
// their documentation publishes.

#include <cstdint>
#include <deque>
#include <utility>

#include "autoscaler/core/scaler.hpp"
#include "autoscaler/replay/world.hpp"

namespace flame::autoscaler {

class OurPolicy final : public Chooser {
 public:
  explicit OurPolicy(const Policy& policy) : scaler_(policy, {}) {}
  Step choose(const Scene& scene) override;

 private:
  Scaler scaler_;
};

/// The horizontal pod autoscaler (kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale
/// and autoscaling/v2): a look every 15 s, wanted = ceil(figure / target), a tolerance of 0.1, up
/// by at most 100 % or 4 pods a look, down to the highest wish of the last 300 s. Which pods go is
/// the ReplicaSet's choice: those that are not ready, then the youngest, busy or not.
class PodAutoscaler : public Chooser {
 public:
  Step choose(const Scene& scene) override;

 protected:
  explicit PodAutoscaler(uint64_t max) : max_(max) {}
  /// Before limits; the tolerance is the caller's.
  virtual double wanted(const Scene& scene, uint64_t have) = 0;
  /// Between none and one: KEDA's business.
  virtual Step at_zero(const Scene&) { return {.add = 1}; }
  virtual bool to_zero(const Scene&) { return false; }

 private:
  uint64_t max_;
  int64_t looked_us_ = INT64_MIN / 2;
  std::deque<std::pair<int64_t, uint64_t>> wishes_;
};

/// On CPU: a busy slot is taken as a busy core. Never below one pod.
class CpuAutoscaler final : public PodAutoscaler {
 public:
  CpuAutoscaler(uint64_t max, uint64_t slots, double target = 0.8)
      : PodAutoscaler(max), slots_(slots), target_(target) {}

 private:
  double wanted(const Scene& scene, uint64_t have) override;
  uint64_t slots_;
  double target_;
};

/// KEDA's redis-lists scaler (keda.sh/docs/scalers/redis-lists, keda.sh/docs/concepts): listLength
/// 5 a pod, looked at every 30 s while there is no pod, to zero after 300 s without a waiting task.
class KedaList final : public PodAutoscaler {
 public:
  explicit KedaList(uint64_t max, double list_length = 5)
      : PodAutoscaler(max), list_length_(list_length) {}

 private:
  double wanted(const Scene& scene, uint64_t have) override;
  Step at_zero(const Scene& scene) override;
  bool to_zero(const Scene& scene) override;
  double list_length_;
  int64_t polled_us_ = INT64_MIN / 2, active_us_ = 0;
};

}  // namespace flame::autoscaler

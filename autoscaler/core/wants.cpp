// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/core/wants.hpp"

#include <algorithm>

namespace flame::autoscaler {

namespace {

uint64_t divided_up(uint64_t tasks, uint64_t each) { return (tasks + each - 1) / each; }

// Whole tasks: a slot with 10 s left does one of 8 s, not a task and a quarter. Capacity that comes
// later has less of the target left; half of it at least, or a start that takes as long as the
// target would ask for the whole world.
uint64_t slots_for_work(const Demand& demand, int64_t run_us, int64_t target_us, uint64_t ready,
                        int64_t cold_start_us) {
  auto done_within = [&](int64_t time_us) {
    return static_cast<uint64_t>(std::max<int64_t>(1, time_us / run_us));
  };
  uint64_t tasks = demand.unfinished();
  uint64_t each = done_within(target_us);
  if (tasks / each < ready || tasks <= ready * each) return divided_up(tasks, each);
  int64_t late_us = std::max(target_us - cold_start_us, target_us / 2);
  return ready + divided_up(tasks - ready * each, done_within(late_us));
}

// Raises the lowest vessels that are not full to the next height above them, until the water is
// spent: as many rounds as there are different heights.
void pour(std::vector<uint64_t>& shares, const std::vector<uint64_t>& most, uint64_t& total) {
  while (total > 0) {
    uint64_t lowest = UINT64_MAX, next = UINT64_MAX, rising = 0;
    for (size_t i = 0; i < shares.size(); i++) {
      if (shares[i] < most[i]) lowest = std::min(lowest, shares[i]);
    }
    if (lowest == UINT64_MAX) return;
    for (size_t i = 0; i < shares.size(); i++) {
      if (shares[i] >= most[i]) continue;
      if (shares[i] > lowest) {
        next = std::min(next, shares[i]);
      } else {
        next = std::min(next, most[i]);
        rising++;
      }
    }
    uint64_t rise = std::max<uint64_t>(1, std::min(next - lowest, total / rising));
    for (size_t i = 0; i < shares.size() && total > 0; i++) {
      if (shares[i] != lowest || shares[i] >= most[i]) continue;
      shares[i] += rise;
      total -= rise;
    }
  }
}

}  // namespace

uint64_t slots_for(const Demand& demand, int64_t run_us, int64_t target_us, uint64_t ready,
                   int64_t cold_start_us) {
  uint64_t work = slots_for_work(demand, run_us, target_us, ready, cold_start_us);
  work = std::min(work, demand.usable);
  return std::max({work + demand.reserved, demand.minimum, demand.busy});
}

uint64_t executors_for(uint64_t slots_wanted, const Demand& demand, uint64_t slots,
                       uint64_t spares) {
  if (slots_wanted == 0) return 0;
  uint64_t own = slots_wanted > demand.shared ? slots_wanted - demand.shared : 0;
  return (own + slots - 1) / slots + spares;
}

std::vector<uint64_t> water_fill(const std::vector<Wish>& wishes, uint64_t total) {
  std::vector<uint64_t> shares(wishes.size()), most(wishes.size());
  for (size_t i = 0; i < wishes.size(); i++) most[i] = std::min(wishes[i].min, wishes[i].wanted);
  pour(shares, most, total);
  for (size_t i = 0; i < wishes.size(); i++) most[i] = wishes[i].wanted;
  pour(shares, most, total);
  return shares;
}

std::vector<uint64_t> fill_up(const std::vector<Floor>& floors, uint64_t least) {
  std::vector<uint64_t> shares, there, most;
  for (const auto& floor : floors) {
    shares.push_back(floor.wanted);
    most.push_back(std::max(floor.wanted, floor.max));
    there.push_back(std::clamp(floor.have, floor.wanted, most.back()));
    least -= std::min(least, floor.wanted);
  }
  pour(shares, there, least);
  pour(shares, most, least);
  return shares;
}

}  // namespace flame::autoscaler

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "proto/run_list.hpp"

#include <algorithm>

namespace flame::proto {

uint64_t count_of(const std::vector<Run>& runs) {
  uint64_t count = 0;
  for (const auto& run : runs) count += run.count;
  return count;
}

uint64_t count_of(const std::vector<Run>& runs, const Run& run) {
  uint64_t count = 0;
  auto at = std::partition_point(runs.begin(), runs.end(),
                                 [&](const Run& each) { return each.end() <= run.first; });
  for (; at != runs.end() && at->overlaps(run); ++at) count += at->intersect(run).count;
  return count;
}

std::vector<Run> take_out(std::vector<Run>& runs, const Run& run) {
  std::vector<Run> taken, left;
  for (const auto& each : runs) {
    Run common = each.intersect(run);
    if (common.empty()) {
      left.push_back(each);
      continue;
    }
    taken.push_back(common);
    if (each.first < common.first) left.push_back({each.first, common.first - each.first});
    if (common.end() < each.end()) left.push_back({common.end(), each.end() - common.end()});
  }
  runs.swap(left);
  return taken;
}

}  // namespace flame::proto

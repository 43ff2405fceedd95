// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "proto/run_list.hpp"

#include <algorithm>

namespace flame::proto {

bool overlaps(const std::vector<Run>& runs, const Run& run) {
  auto at = std::partition_point(runs.begin(), runs.end(),
                                 [&](const Run& each) { return each.end() <= run.first; });
  return at != runs.end() && at->overlaps(run);
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

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Lists of runs that do not overlap.

#include <vector>

#include "proto/run.hpp"

namespace flame::proto {

/// One of `runs` (in order) has a task of `run`.
bool overlaps(const std::vector<Run>& runs, const Run& run);

/// Takes what lies in `run` out of `runs` and returns it; the rest of a cut one stays in its place.
std::vector<Run> take_out(std::vector<Run>& runs, const Run& run);

}  // namespace flame::proto

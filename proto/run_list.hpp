// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Lists of runs that do not overlap.

#include <vector>

#include "proto/run.hpp"

namespace flame::proto {

/// How many tasks `runs` have.
uint64_t count_of(const std::vector<Run>& runs);
/// How many of the tasks of `run` are in `runs`, which are in order.
uint64_t count_of(const std::vector<Run>& runs, const Run& run);

/// Takes what lies in `run` out of `runs` and returns it; the rest of a cut one stays in its place.
std::vector<Run> take_out(std::vector<Run>& runs, const Run& run);

}  // namespace flame::proto

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// How much is wanted: arithmetic without memory.

#include <cstdint>
#include <vector>

#include "autoscaler/core/policy.hpp"

namespace flame::autoscaler {

/// Slots that finish the work within `target_us`, where `ready` slots work from now on and further
/// ones only after `cold_start_us`. A task that runs longer than the target needs a slot of its
/// own; never more than tasks could use. What is held for sessions is added, and what is busy
/// stays.
uint64_t slots_for(const Demand& demand, int64_t run_us, int64_t target_us, uint64_t ready,
                   int64_t cold_start_us);

/// Executors of `slots` each, beside the shared slots. `spares` only where there is any work.
uint64_t executors_for(uint64_t slots_wanted, const Demand& demand, uint64_t slots,
                       uint64_t spares);

struct Wish {
  uint64_t min = 0;
  uint64_t wanted = 0;
};
/// Shares `total` out: minimums first, then one each in turn, as if water were poured into vessels
/// of different height. Never more than is wished, and all of `total` if the wishes reach it.
std::vector<uint64_t> water_fill(const std::vector<Wish>& wishes, uint64_t total);

struct Floor {
  uint64_t wanted = 0;  ///< without it
  uint64_t have = 0;
  uint64_t max = 0;
};
/// Raises what is wanted until it is `least` together, as far as the maximums let it: first to what
/// is there, which costs nothing to start, then the lowest first.
std::vector<uint64_t> fill_up(const std::vector<Floor>& floors, uint64_t least);

}  // namespace flame::autoscaler

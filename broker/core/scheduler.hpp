// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Which session each slot should serve: a pure function of what is wanted and what there is.
//
// Today: min_instances first (of sessions with tasks before those that are only kept ready), then
// equal shares by water-filling among the sessions that have tasks, never above max_instances; with
// more sessions than slots those served least come first and a bound one keeps its slot for a
// quantum. Executors that serve one application only are filled one after the other, so that an
// autoscaler finds idle ones; others are spread over. Tiers, weights and resources find their place
// in `share_slots`, reclaim in `keep_slots`.

#include <cstdint>
#include <string>
#include <vector>

#include "proto/ids.hpp"

namespace flame::broker {

/// A session that has tasks, wants min_instances, or still has slots.
struct PlanSession {
  proto::SessionUid uid = 0;
  std::string application;
  uint64_t wanted =
      0;  ///< slots it could use now: unfinished tasks, capped by its limits; at least min
  uint64_t min = 0;
  uint64_t tasks = 0;                     ///< unfinished ones
  uint64_t application_max = UINT64_MAX;  ///< slots of all sessions of the application together
  int64_t served_us = 0;                  ///< service time so far, comparable between sessions
  int64_t bound_us = 0;  ///< when it got its first current slot (mono); 0 where it has none
  /// Nothing to do, but an instance may stay warm until then (mono); 0: release at once.
  int64_t linger_until_us = 0;
};

struct PlanSlot {
  size_t executor = 0;           ///< its number, counted from 0
  std::string only_application;  ///< of its executor; "" for any
  proto::SessionUid wanted = 0;  ///< what it was last told to serve
  std::string application;       ///< of `wanted`, or of the warm process in it; "" for none
  bool busy = false;             ///< tasks in hand: moving it waits for the current frame
};

struct Plan {
  std::vector<proto::SessionUid> wanted;  ///< per slot, in the order given
  std::vector<bool> spare;                ///< kept warm only: its session needs no more slots
  int64_t look_again_us = 0;              ///< a quantum or a lingering ends then (mono); 0: no need
};

/// Deterministic: equal input, equal plan. Stable: no slot moves unless somebody gains by it.
Plan plan_slots(const std::vector<PlanSession>& sessions, const std::vector<PlanSlot>& slots,
                int64_t now_us);

}  // namespace flame::broker

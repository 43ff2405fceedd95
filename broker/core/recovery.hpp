// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

#include "broker/core/state.hpp"

namespace flame::broker {

/// Builds the state from what Redis has: waiting ids go out at once, running ones wait for their
/// executors to claim them until readopt.
void recover(State& state, const Recovered& recovered, const proto::Now& now);
/// Redis lost confirmed writes: until somebody accepts that, reads only.
void on_lineage_broken(State& state, const std::string& reason);
/// Unclaimed running ids go back to the queue, uncharged, when their time is over.
void requeue_orphans(State& state, const proto::Now& now);

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// From waiting ids to runs in the hands of executors, and the batch that makes it so.

#include <optional>

#include "broker/core/state.hpp"

namespace flame::broker {

/// The inputs accepted since the last batch become stored runs that wait.
void seal_fresh(State& state, Session& session, const proto::Now& now);

/// Gives slots to sessions anew if something changed that could matter.
void plan(State& state, const proto::Now& now);

/// Gives waiting runs to executors that have a window left.
void dispatch(State& state, Session& session, const proto::Now& now);
void on_inputs_read(State& state, InputsRead read, const proto::Now& now);

/// Closes the batch: seals, plans, dispatches, writes counters. Nothing if there is nothing to
/// write.
std::optional<Batch> close_batch(State& state, const proto::Now& now);
/// What depended on the batch leaves.
void on_batch_stored(State& state, uint64_t number, const proto::Now& now);

}  // namespace flame::broker

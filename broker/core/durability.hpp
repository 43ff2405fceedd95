// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Levels above `stored`: answers and results for clients of such sessions wait until the store says
// that their batch is on disk or on replicas. Nothing else does: tasks are dispatched, results are
// recorded and the next batch is written as for any other session.

#include "broker/core/state.hpp"

namespace flame::broker {

/// The level that the store can be said to have reached when an acknowledgement of such a session
/// leaves: as asked for, but without an append-only file `stored` is no more than `memory`.
proto::Durability level_reached(const State& state, const Session& session);
/// Can a session of this level be created? The error says what would give it.
proto::Status check_level(const State& state, proto::Durability level);
/// Why acknowledgements of the level wait longer than they should; "" where they do not.
std::string late_reason(const State& state, proto::Durability level);

/// How many messages wait for it.
uint64_t waiting_for(const State& state, proto::Durability level);

/// Nothing waits any more: what it rests on is not to be trusted.
void forget_levels(State& state);
/// Nobody is there any more to hear what waits for him.
void forget_waiting(State& state, const Peer& peer);

/// The session's new results rest on the batch that fills: delivered when it is safe enough.
void hold_done(State& state, const Session& session);
/// Of a session as it was read at start: stored, and who knows what else.
void hold_recovered(State& state, Session& session);

/// They are: to all that watch.
void may_deliver(State& state, Session& session, uint64_t done_end);

/// There was nothing to write: what waits for the batch that fills rests on the one before.
void rest_on_last_batch(State& state);
/// All up to this batch is stored: asks the store for more where somebody waits for it.
void ask_durable(State& state, uint64_t stored);
void on_durable(State& state, const Durable& durable);
void on_durable_late(State& state, DurableLate late);
/// Redis went away: what it said of disks and replicas may not be true of the one that comes back.
void on_store_away(State& state);

}  // namespace flame::broker

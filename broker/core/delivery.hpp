// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Recorded results, from the list of done runs to whoever watches the session: in its order, as
// much as each watcher's window holds, not before the session's durability allows. What is recent
// comes from memory, what is older is read from the store; nothing else decides which.

#include "broker/core/state.hpp"

namespace flame::broker {

/// A result that was recorded just now, as entry done_end - 1. Kept while a watcher lacks it and
/// the budget (recent_result_bytes_max, all sessions together) allows.
void remember_result(State& state, Session& session, proto::Results message);
/// Sends every watcher what it may have and lacks.
void deliver(State& state, Session& session);
/// Before the session goes, or its results do.
void forget_recent(State& state, Session& session);

void on_watch(State& state, Client& client, const proto::Watch& message, const proto::Now& now);
void on_results_ack(State& state, Client& client, const proto::ResultsAck& message,
                    const proto::Now& now);
void on_outputs_read(State& state, OutputsRead read);

/// Entry `index` of `done` as a client gets it; one that is gone or damaged says so by name.
proto::Results from_store(const Session& session, uint64_t index, const proto::Run& run,
                          const proto::Bytes& value);

}  // namespace flame::broker

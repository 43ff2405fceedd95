// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Executors: hello and absolutes, bindings, windows, what they give back, and how they are lost.

#include "broker/core/state.hpp"

namespace flame::broker {

/// Any message on the executors' socket, in order of arrival.
void on_executor_message(State& state, const Peer& peer, const proto::Envelope& envelope,
                         proto::Message message, const proto::Now& now);
/// libzmq says that nobody is connected under this address any more.
void on_executor_gone(State& state, const Peer& peer);

/// Beats, leases, bindings that were not echoed. `drained`: the sockets are empty, so silence means
/// something.
void tick_executors(State& state, const proto::Now& now, bool drained);

/// Its tasks go back, an attempt charged; its slots end.
void lose_executor(State& state, Executor& executor, proto::ExecutorState into,
                   const std::string& why, const proto::Now& now);

/// Its slots serve nobody any more: it finishes what runs, the rest comes back.
void unbind_all(State& state, Executor& executor, const proto::Now& now);
/// One slot less of a session on this executor.
void release_share(Executor& executor, proto::SessionUid uid);
/// Keeps Session::at, the executors that may have a share.
void note_slots(State& state, Session& session, Executor& executor, const proto::Now& now);
void send_bind(State& state, Executor& executor, const proto::Now& now);
/// The row of flame:executors and of listings.
proto::Value row_of(const State& state, const Executor& executor);

}  // namespace flame::broker

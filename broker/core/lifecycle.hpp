// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// How sessions begin and end: create, close, delete, retention.

#include "broker/core/state.hpp"

namespace flame::broker {

proto::Result<Session*> create_session(State& state, Client& client,
                                       const proto::CreateSession& message, const proto::Now& now);
/// Pending tasks become cancelled, running ones finish. Idempotent.
void close_session(State& state, Session& session, const proto::Now& now);
/// The session and its keys go with the batch that fills now.
void delete_session(State& state, Session& session);
/// Nothing more is dispatched; `reason` says why.
void suspend_session(State& state, Session& session, const std::string& reason,
                     const proto::Now& now);
/// After tasks ended: answers those who wait, closes a closing session.
void on_tasks_finished(State& state, Session& session);
/// What is kept for a time keeps its age when the wall's clock is set, as from 1970 after a start
/// without a network. Before everything else of a turn.
void follow_clock(State& state, const proto::Now& now);

proto::SessionInfo info_of(const State& state, const Session& session, uint64_t request,
                           const std::string& client_id);
/// What stands in flame:{S}:session. `all`: also what never changes.
TextFields fields_of(const Session& session, bool all);

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What an instance of a session needs beside its tasks: the application and the common data. Which
// executor has it, in which version, and what clients ask of the common data.

#include "broker/core/state.hpp"

namespace flame::broker {

/// True if the executor has, or was just sent, the session's context. False: the common data is
/// being read back; nothing is bound or dispatched there until it came.
bool offer_context(State& state, Executor& executor, Session& session);
/// A hello: contexts sent on an earlier link may be lost, or older than what there is now.
void adopt_contexts(State& state, Executor& executor, const std::vector<proto::HeldContext>& held);
/// It changed: executors that have it get the new one behind the batch that fills, before any task
/// that is dispatched from now on.
void renew_context(State& state, Session& session);
/// Once a second: a read that failed is tried again.
void offer_missing_contexts(State& state, Session& session);
void on_common_read(State& state, CommonRead read);

void on_update_common(State& state, Client& client, const proto::UpdateCommon& message,
                      const proto::Now& now);
void on_get_common(State& state, Client& client, const proto::GetCommon& message);
proto::Error common_too_large(uint64_t bytes);

}  // namespace flame::broker

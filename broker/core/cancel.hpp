// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Cancelling tasks by ranges. A cancelled task is finished at once: `C` in Redis, one entry of
// `done` for a run of them. What executors have goes on there until they say that it ended.

#include "broker/core/state.hpp"

namespace flame::broker {

void on_cancel_tasks(State& state, Client& client, Session& session,
                     const proto::CancelTasks& message, const proto::Now& now);
/// Records tasks as cancelled that were just taken out of where they were.
void record_cancelled(State& state, Session& session, const proto::Run& run,
                      const std::string& reason, const proto::Now& now);

}  // namespace flame::broker

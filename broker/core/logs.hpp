// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What services wrote to stdout and stderr: it stays with the executors, and is fetched from all of
// them when somebody asks.

#include "broker/core/state.hpp"

namespace flame::broker {

void on_get_logs(State& state, Client& client, const proto::GetLogs& message,
                 const proto::Now& now);
void on_output(State& state, const Executor& executor, const proto::Output& message);
/// Part of every tick: answers without those that were asked log_wait_ms ago.
void end_log_questions(State& state, const proto::Now& now);

}  // namespace flame::broker

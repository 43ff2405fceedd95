// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What running tasks say of themselves, from executors to whoever watches their session.

#include "broker/core/state.hpp"

namespace flame::broker {

void on_task_progress(State& state, Executor& executor, const proto::TaskProgress& message);
/// Part of every tick: so no watcher hears of a session more often than that.
void tell_progress(State& state);

}  // namespace flame::broker

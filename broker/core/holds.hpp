// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Executors that take nothing new: cordoned by an operator, or drained to be removed. Both give up
// their slots and finish what runs.
//
// A cordon belongs to the executor's id and lasts until it is lifted. A drain belongs to the pod,
// so that a container that the kubelet starts again stays drained, or to the process, which ends.

#include "broker/core/state.hpp"

namespace flame::broker {

void on_hold_executor(State& state, Client& client, const proto::HoldExecutor& message,
                      const proto::Now& now);
/// Chooses and drains in one step: between the two nothing can be dispatched.
void on_pick_victims(State& state, Client& client, const proto::PickVictims& message,
                     const proto::Now& now);

/// Whom a drain belongs to: a pod outlives its containers.
std::string instance_of(const proto::ExecutorHello& hello);
/// What holds of `known` when a process with this hello comes in its place.
proto::Hold hold_after_restart(const Executor& known, const proto::ExecutorHello& hello);
/// Behind a welcome and after every change: a drained process is told to leave, a pod is not.
void tell_hold(State& state, Executor& executor);

}  // namespace flame::broker

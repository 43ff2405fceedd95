// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Executors that take nothing new: cordoned by an operator, resting by the autoscaler's wish, or
// drained to be removed. All give up their slots and finish what runs.
//
// A cordon belongs to the executor's id and lasts until it is lifted. A rest and a drain belong to
// the pod, so that a container that the kubelet starts again stays so, or to the process; a drained
// one ends. Of the autoscaler's wishes none takes the place of an operator's.

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

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Applications: registered kinds of services.

#include "broker/core/state.hpp"

namespace flame::broker {

proto::Status register_application(State& state, const proto::Value& value);
/// Replaces the fields in `changes` (null: by the default), also while sessions of it are open:
/// their executors are told, and start their instances anew.
proto::Status update_application(State& state, const std::string& name,
                                 const proto::Value& changes);
proto::Status unregister_application(State& state, const std::string& name);
/// With the nearest one that there is.
proto::Error no_application(const State& state, const std::string& name);
/// flmping, flmexec, echo and friends, where nobody registered others under these names.
void register_builtins(State& state);

}  // namespace flame::broker

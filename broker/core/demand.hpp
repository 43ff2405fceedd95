// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

#include "broker/core/state.hpp"

namespace flame::broker {

/// flame:demand and flame:executors: written when changed, at most five times a second; demand's
/// time once a second.
void write_demand(State& state, const proto::Now& now);

}  // namespace flame::broker

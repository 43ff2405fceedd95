// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

#include "client/flmexec/settings.hpp"

namespace flame::exec {

/// Connects, runs, prints. Returns the exit code.
int run(const Settings& settings);

}  // namespace flame::exec

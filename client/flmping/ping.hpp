// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

#include "client/flmping/settings.hpp"

namespace flame::ping {

/// Connects, creates the session, runs, closes, reports. Returns the exit code.
int run(const Settings& settings);

}  // namespace flame::ping

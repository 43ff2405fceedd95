// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Executors over time, for a terminal and for a page. Pure.

#include <string>
#include <vector>

#include "autoscaler/replay/world.hpp"

namespace flame::autoscaler {

/// "37 s", "1.5 h".
std::string time_text(int64_t us);

/// `width` columns in all; # executors that serve, . those that are starting.
std::string text_plot(const Outcome& outcome, size_t width, size_t height);

/// A line for each outcome, waiting tasks of the first in grey behind them.
std::string svg_plot(const std::vector<Outcome>& outcomes);

}  // namespace flame::autoscaler

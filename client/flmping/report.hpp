// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

#include <string>

#include "client/flmping/ping_run.hpp"

namespace flame::ping {

/// What is known when a run ended, for both forms of the report.
struct Outcome {
  std::string session;
  int64_t setup_us = 0;
  int64_t duration_us = 0;
  uint64_t executors = 0;
  uint64_t slots = 0;
};

std::string created_line(const Outcome& outcome, uint64_t tasks);
/// The last line, failures, and with --perf the benchmark block.
std::string show_text(const Settings& settings, const PingRun& run, const Outcome& outcome);
/// One JSON object.
std::string show_json(const Settings& settings, const PingRun& run, const Outcome& outcome);

}  // namespace flame::ping

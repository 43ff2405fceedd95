// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What a simulated task is: its input says who it is, how long it runs and how it ends, so that an
// output can be traced to its input.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace flame::sim {

struct Task {
  uint64_t number = 0;  ///< unique in a run of the simulation
  uint64_t run_us = 0;
  char kind = 'n';  ///< n: succeeds, f: answers with an error, p: kills whoever runs it

  std::string text() const;
  static std::optional<Task> parse(std::string_view text);
};

/// What the service answers.
std::string output_of(std::string_view input);
/// The task that an output belongs to.
std::optional<Task> task_of_output(std::string_view output);

}  // namespace flame::sim

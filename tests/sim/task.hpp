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
  char kind = 'n';      ///< n: succeeds, f: answers with an error, p: kills whoever runs it
  uint64_t common = 0;  ///< the common data that it must run with, or a later one

  std::string text() const;
  static std::optional<Task> parse(std::string_view text);
};

/// Common data of a session, as an update has it: `serial` counts a session's updates.
std::string common_text(uint64_t serial);
uint64_t serial_of(std::string_view common);

/// What the service answers that entered with this common data.
std::string output_of(std::string_view input, uint64_t serial);
/// The task that an output belongs to, and the common data that it ran with.
struct Ran {
  Task task;
  uint64_t serial = 0;
};
std::optional<Ran> ran_of_output(std::string_view output);

}  // namespace flame::sim

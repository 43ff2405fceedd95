// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What a simulated task is: its input says who it is, how long it runs and how it ends, so that an
// output can be traced to its input.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proto/application.hpp"

namespace flame::sim {

struct Task {
  uint64_t number = 0;  ///< unique in a run of the simulation
  uint64_t run_us = 0;
  char kind = 'n';           ///< n: succeeds, f: answers with an error, p: kills whoever runs it
  uint64_t common = 0;       ///< the common data that it must run with, or a later one
  uint64_t application = 0;  ///< the same of its application

  std::string text() const;
  static std::optional<Task> parse(std::string_view text);
};

/// Common data of a session, as an update has it: `serial` counts a session's updates.
std::string common_text(uint64_t serial);
uint64_t serial_of(std::string_view common);
/// The same of an application: what changes in it, and what its service was started with.
proto::Map changes_of(uint64_t serial);
uint64_t serial_of(const proto::Application& application);

/// Of the common data that a service entered with, and of the application that it was started as.
struct Serials {
  uint64_t common = 0, application = 0;
};
std::string output_of(std::string_view input, const Serials& serials);
/// The task that an output belongs to, and what it ran with.
struct Ran {
  Task task;
  Serials with;
};
std::optional<Ran> ran_of_output(std::string_view output);

}  // namespace flame::sim

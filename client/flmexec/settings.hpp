// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

#include <cstdint>
#include <string>

#include "proto/error.hpp"

namespace flame::exec {

/// What the command line asked for.
struct Settings {
  uint64_t tasks = 10;
  std::string code;
  std::string language = "shell";
  std::string input;
  bool has_input = false;
  std::string endpoint;
  std::string cluster;
  uint64_t timeout_ms = 0;  ///< without a result; 0: for ever
  bool help = false;
  bool version = false;
};

proto::Result<Settings> parse_settings(int argc, const char* const* argv);
std::string help_text();

/// The task's input: a shell script that runs the code in its language, with the input on its
/// stdin. Its exit code is the code's.
std::string script_of(const Settings& settings);

}  // namespace flame::exec

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The table of sub-commands. A new one is a row here and a file verb_<name>.cpp.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "client/flmctl/command.hpp"

namespace flame::flmctl {

struct Verb {
  std::string_view name;
  std::string_view arguments;
  std::string_view summary;
  /// Its own options; the common ones are added. Null: `run_raw` reads the command line itself.
  std::vector<runtime::OptionRow> (*options)() = nullptr;
  int (*run)(Command&) = nullptr;
  int (*run_raw)(int, const char* const*) = nullptr;
};

std::span<const Verb> verbs();

/// argv[0] is flmctl, argv[1] the verb.
int run_flmctl(int argc, const char* const* argv);

int run_list(Command& command);
int run_view(Command& command);
int run_create(Command& command);
int run_submit(Command& command);
int run_wait(Command& command);
int run_results(Command& command);
int run_cancel(Command& command);
int run_close(Command& command);
int run_delete(Command& command);
int run_register(Command& command);
int run_unregister(Command& command);
int run_cordon(Command& command);
int run_uncordon(Command& command);
int run_drain(Command& command);
int run_recover(Command& command);
int run_update(Command& command);
int run_watch(Command& command);
int run_logs(Command& command);
int run_scale(Command& command);
std::vector<runtime::OptionRow> simulate_options();
int simulate_scale(Command& command);
int record_scale(Command& command, const std::string& application);
int run_version(Command& command);
int run_limits(Command& command);

}  // namespace flame::flmctl

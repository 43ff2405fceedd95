// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// version and limits: what this software is.

#include <unistd.h>

#include <cstdio>

#include "client/cpp/src/endpoint.hpp"
#include "client/flmctl/verbs.hpp"
#include "client/terminal.hpp"
#include "proto/limits.hpp"

namespace flame::flmctl {

int run_version(Command& command) {
  auto format = *command.format();
  proto::Map row = {{"flmctl", FLAME_VERSION},
                    {"protocol", std::to_string(proto::kProtocolMajor) + "." +
                                     std::to_string(proto::kProtocolMinor)}};
  // A broker that is not there is no failure of `version`.
  if (auto connection = command.connect()) {
    if (auto welcome = (*connection)->wait_until_up(command.timeout_ms())) {
      row.emplace_back("endpoint", (*connection)->endpoint());
      row.emplace_back("broker", welcome->version);
      row.emplace_back("cluster", welcome->cluster);
      row.emplace_back("epoch", welcome->epoch);
    }
  }
  std::fputs(show_one(row, format).c_str(), stdout);
  return tools::kExitOk;
}

int run_limits(Command& command) {
  proto::List rows;
  for (const auto& limit : proto::kLimits) {
    rows.push_back(proto::Map{{"name", limit.name},
                              {"value", limit.value},
                              {"unit", limit.unit},
                              {"at_it", limit.at_it},
                              {"why", limit.why}});
  }
  const std::vector<Column> columns = {{"Name", "name"},
                                       {"Value", "value"},
                                       {"Unit", "unit"},
                                       {"At it", "at_it"},
                                       {"Why", "why", nullptr, true}};
  auto terminal = tools::inspect_terminal(STDOUT_FILENO);
  std::fputs(show_rows(rows, columns, *command.format(), terminal.is_terminal ? terminal.width : 0)
                 .c_str(),
             stdout);
  return tools::kExitOk;
}

}  // namespace flame::flmctl

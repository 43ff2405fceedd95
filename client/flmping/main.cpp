// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// flmping: runs tasks through the cluster and says how fast, and whether each had exactly one
// result.

#include <cstdio>

#include "client/flmping/ping.hpp"
#include "client/flmping/settings.hpp"
#include "client/tool.hpp"

namespace {

int run(int argc, char** argv) {
  using namespace flame;
  auto settings = ping::parse_settings(argc, argv);
  if (!settings) return tools::fail_usage("flmping", settings.error());
  if (settings->help) {
    std::fputs(ping::help_text().c_str(), stdout);
    return tools::kExitOk;
  }
  if (settings->version) {
    std::puts("flmping " FLAME_VERSION);
    return tools::kExitOk;
  }
  return ping::run(*settings);
}

}  // namespace

int main(int argc, char** argv) { return flame::tools::finish("flmping", run(argc, argv)); }

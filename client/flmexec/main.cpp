// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// flmexec: a piece of shell or Python as N tasks of the application flmexec.

#include <cstdio>

#include "client/flmexec/exec.hpp"
#include "client/tool.hpp"

namespace {

int run(int argc, char** argv) {
  using namespace flame;
  auto settings = exec::parse_settings(argc, argv);
  if (!settings) return tools::fail_usage("flmexec", settings.error());
  if (settings->help) {
    std::fputs(exec::help_text().c_str(), stdout);
    return tools::kExitOk;
  }
  if (settings->version) {
    std::puts("flmexec " FLAME_VERSION);
    return tools::kExitOk;
  }
  return exec::run(*settings);
}

}  // namespace

int main(int argc, char** argv) { return flame::tools::finish("flmexec", run(argc, argv)); }

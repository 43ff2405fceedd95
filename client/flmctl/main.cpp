// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// flmctl: a local cluster, sessions, applications and executors from the command line.

#include "client/flmctl/verbs.hpp"
#include "client/tool.hpp"

int main(int argc, char** argv) {
  return flame::tools::finish("flmctl", flame::flmctl::run_flmctl(argc, argv));
}

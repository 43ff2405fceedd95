// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// The fake broker as a process, to try the tools against: prints its endpoint and runs until its
// stdin ends.

#include <cstdio>

#include "tests/unit/client/fake_broker.hpp"

int main() {
  flame::test::FakeBroker broker;
  std::puts(broker.endpoint().c_str());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
}

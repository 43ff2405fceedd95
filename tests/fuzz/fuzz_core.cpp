// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Arbitrary messages, faults and times against the broker's core; see core_world.hpp for what the
// bytes mean.
#include "tests/fuzz/core_world.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  flame::fuzz::CoreWorld().run(flame::fuzz::Input(data, size));
  return 0;
}

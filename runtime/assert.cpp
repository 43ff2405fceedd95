// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "runtime/assert.hpp"

#include <cstdio>
#include <cstdlib>

namespace flame::runtime {
void assertion_failed(const char* what, const char* file, int line) {
  std::fprintf(stderr, "flame: bug: %s is false at %s:%d\n", what, file, line);
  std::abort();
}
}  // namespace flame::runtime

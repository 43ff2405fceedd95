// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What the kill client submits: a function of the seed and the submit's number, so that a client
// that was killed submits the same again, and everybody can tell from an output which task it must
// belong to.

#include <cstdint>
#include <string>

namespace flame::tests {

struct Load {
  uint64_t count = 0;
  std::string payload;  ///< elements "<submit>.<place>.<ms>", ms from 0 to 20
};

Load load_of(uint64_t seed, uint64_t submit);

}  // namespace flame::tests

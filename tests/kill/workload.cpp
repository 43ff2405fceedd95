// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/kill/workload.hpp"

#include "proto/elements.hpp"

namespace flame::tests {

namespace {

constexpr uint64_t kLongestMs = 20;

// splitmix64 (Steele et al. 2014)
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

// Three kinds: many tasks that take no time, a mix, and one alone.
Load load_of(uint64_t seed, uint64_t submit) {
  uint64_t random = mix(seed ^ mix(submit));
  uint64_t kind = random % 8;
  Load load;
  load.count = kind < 3 ? 20 + random / 8 % 180 : kind < 7 ? 1 + random / 8 % 60 : 1;
  for (uint64_t place = 0; place < load.count; place++) {
    uint64_t ms = kind < 3 ? 0 : mix(random + place) % (kLongestMs + 1);
    proto::append_element(load.payload, std::to_string(submit) + "." + std::to_string(place) + "." +
                                            std::to_string(ms));
  }
  return load;
}

}  // namespace flame::tests

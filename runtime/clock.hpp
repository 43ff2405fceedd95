// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The only place where a clock or the system's randomness is read.

#include <cstdint>
#include <string>

#include "proto/time.hpp"

namespace flame::runtime {

proto::Now read_clock();

/// From getrandom(2).
uint64_t random_u64();
std::string random_bytes(size_t count);
/// `count` characters of [0-9A-Za-z].
std::string random_letters(size_t count);
std::string random_hex(size_t bytes);

/// libzmq never seeds rand(): without this all peers draw the same routing ids and reconnect in
/// step.
void seed_libzmq();

}  // namespace flame::runtime

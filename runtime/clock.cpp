// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "runtime/clock.hpp"

#include <sys/random.h>
#include <time.h>

#include <cstdlib>
#include <cstring>

#include "runtime/assert.hpp"

namespace flame::runtime {

namespace {
int64_t read_us(clockid_t id) {
  timespec time{};
  clock_gettime(id, &time);
  return time.tv_sec * proto::kUsPerSecond + time.tv_nsec / 1000;
}
}  // namespace

proto::Now read_clock() { return {read_us(CLOCK_MONOTONIC), read_us(CLOCK_REALTIME)}; }

std::string random_bytes(size_t count) {
  std::string bytes(count, '\0');
  for (size_t at = 0; at < count;) {
    ssize_t got = getrandom(bytes.data() + at, count - at, 0);
    FLAME_ASSERT(got > 0 || errno == EINTR);
    if (got > 0) at += static_cast<size_t>(got);
  }
  return bytes;
}

uint64_t random_u64() {
  uint64_t value = 0;
  std::memcpy(&value, random_bytes(sizeof value).data(), sizeof value);
  return value;
}

std::string random_letters(size_t count) {
  static constexpr char kLetters[] =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::string text;
  for (size_t i = 0; i < count; i++) text += kLetters[random_u64() % 62];
  return text;
}

std::string random_hex(size_t bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (char c : random_bytes(bytes)) {
    auto byte = static_cast<unsigned char>(c);
    text += {kHex[byte >> 4], kHex[byte & 15]};
  }
  return text;
}

void seed_libzmq() { srand(static_cast<unsigned>(random_u64())); }

}  // namespace flame::runtime

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "proto/crc32c.hpp"

#include <array>
#include <cstring>

namespace flame::proto {

namespace {

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; bit++) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82f63b78u : 0);
    table[i] = value;
  }
  return table;
}
constexpr auto kTable = make_table();

uint32_t by_table(const char* p, size_t size, uint32_t crc) {
  for (size_t i = 0; i < size; i++) {
    crc = kTable[(crc ^ static_cast<unsigned char>(p[i])) & 255] ^ (crc >> 8);
  }
  return crc;
}

#if defined(__x86_64__)
// The instruction takes three cycles but one can begin in each: three stretches at once, and their
// sums joined by tables that say what a sum becomes after a stretch of zeros.
constexpr size_t kStretch = 1024;

struct Shift {
  std::array<std::array<uint32_t, 256>, 4> table{};

  Shift() {
    std::array<uint32_t, 32> after{};  // of each single bit
    for (uint32_t bit = 0; bit < 32; bit++) {
      uint32_t value = 1u << bit;
      for (size_t i = 0; i < kStretch; i++) value = kTable[value & 255] ^ (value >> 8);
      after[bit] = value;
    }
    for (uint32_t byte = 0; byte < 4; byte++) {
      for (uint32_t value = 0; value < 256; value++) {
        for (uint32_t bit = 0; bit < 8; bit++) {
          if ((value >> bit & 1) != 0) table[byte][value] ^= after[byte * 8 + bit];
        }
      }
    }
  }
  uint64_t operator()(uint64_t crc) const {
    return table[0][crc & 255] ^ table[1][crc >> 8 & 255] ^ table[2][crc >> 16 & 255] ^
           table[3][crc >> 24 & 255];
  }
};

uint64_t word_at(const char* p) {
  uint64_t word;
  std::memcpy(&word, p, 8);
  return word;
}

__attribute__((target("sse4.2"))) uint32_t by_sse42(const char* p, size_t size, uint32_t crc) {
  static const Shift shift;
  uint64_t value = crc;
  for (; size >= 3 * kStretch; p += 3 * kStretch, size -= 3 * kStretch) {
    uint64_t second = 0, third = 0;
    for (const char* end = p + kStretch; p < end; p += 8) {
      value = __builtin_ia32_crc32di(value, word_at(p));
      second = __builtin_ia32_crc32di(second, word_at(p + kStretch));
      third = __builtin_ia32_crc32di(third, word_at(p + 2 * kStretch));
    }
    p -= kStretch;
    value = shift(shift(value) ^ second) ^ third;
  }
  for (; size >= 8; p += 8, size -= 8) value = __builtin_ia32_crc32di(value, word_at(p));
  crc = static_cast<uint32_t>(value);
  for (; size > 0; p++, size--) {
    crc = __builtin_ia32_crc32qi(crc, static_cast<unsigned char>(*p));
  }
  return crc;
}
#endif

}  // namespace

uint32_t crc32c(std::string_view bytes, uint32_t crc) {
#if defined(__x86_64__)
  static const bool has_sse42 = __builtin_cpu_supports("sse4.2") != 0;
  if (has_sse42) return ~by_sse42(bytes.data(), bytes.size(), ~crc);
#endif
  return ~by_table(bytes.data(), bytes.size(), ~crc);
}

}  // namespace flame::proto

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
__attribute__((target("sse4.2"))) uint32_t by_sse42(const char* p, size_t size, uint32_t crc) {
  uint64_t value = crc;
  for (; size >= 8; p += 8, size -= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    value = __builtin_ia32_crc32di(value, word);
  }
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

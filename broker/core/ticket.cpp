// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/ticket.hpp"

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace flame::broker {

namespace {

uint64_t load(const char* p, size_t size = 8) {
  uint64_t word = 0;
  std::memcpy(&word, p, size);
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return word;
}

struct Sip {
  uint64_t v0, v1, v2, v3;
  void rounds(int count) {
    for (int i = 0; i < count; i++) {
      v0 += v1, v1 = std::rotl(v1, 13), v1 ^= v0, v0 = std::rotl(v0, 32);
      v2 += v3, v3 = std::rotl(v3, 16), v3 ^= v2;
      v0 += v3, v3 = std::rotl(v3, 21), v3 ^= v0;
      v2 += v1, v1 = std::rotl(v1, 17), v1 ^= v2, v2 = std::rotl(v2, 32);
    }
  }
  void absorb(uint64_t word) { v3 ^= word, rounds(2), v0 ^= word; }
  uint64_t squeeze() const { return v0 ^ v1 ^ v2 ^ v3; }
};

void append_u64(std::string& out, uint64_t word) {
  for (int i = 0; i < 8; i++) out += static_cast<char>(word >> (8 * i) & 255);
}

std::string signature(const proto::Ticket& ticket, std::string_view secret, proto::SessionUid uid,
                      std::string_view executor) {
  std::string bytes;
  append_u64(bytes, uid);
  append_u64(bytes, ticket.run.first);
  append_u64(bytes, ticket.run.count);
  append_u64(bytes, ticket.attempt);
  append_u64(bytes, ticket.epoch.size());
  bytes.append(ticket.epoch).append(executor);
  return siphash128(secret, bytes);
}

}  // namespace

std::string siphash128(std::string_view key, std::string_view bytes) {
  std::array<char, 16> padded{};
  std::memcpy(padded.data(), key.data(), std::min(key.size(), padded.size()));
  uint64_t k0 = load(padded.data()), k1 = load(padded.data() + 8);
  Sip sip{k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du ^ 0xeeu, k0 ^ 0x6c7967656e657261u,
          k1 ^ 0x7465646279746573u};
  size_t whole = bytes.size() / 8 * 8;
  for (size_t at = 0; at < whole; at += 8) sip.absorb(load(bytes.data() + at));
  sip.absorb(load(bytes.data() + whole, bytes.size() - whole) | uint64_t{bytes.size() & 255} << 56);
  std::string out;
  sip.v2 ^= 0xee;
  sip.rounds(4);
  append_u64(out, sip.squeeze());
  sip.v1 ^= 0xdd;
  sip.rounds(4);
  append_u64(out, sip.squeeze());
  return out;
}

void sign_ticket(proto::Ticket& ticket, std::string_view secret, proto::SessionUid uid,
                 std::string_view executor) {
  ticket.token = signature(ticket, secret, uid, executor);
}

bool ticket_is_ours(const proto::Ticket& ticket, std::string_view secret, proto::SessionUid uid,
                    std::string_view executor) {
  std::string right = signature(ticket, secret, uid, executor);
  if (ticket.token.size() != right.size()) return false;
  unsigned difference = 0;  // no early exit: how far a forged token was right must not show in time
  for (size_t i = 0; i < right.size(); i++) {
    difference |= static_cast<unsigned char>(ticket.token[i] ^ right[i]);
  }
  return difference == 0;
}

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "proto/keys.hpp"

namespace flame::proto {

namespace {
std::string build(std::string_view session, std::string_view suffix) {
  std::string key;
  key.reserve(session.size() + suffix.size() + 28);
  return key.append("flame:{").append(session).append("}:").append(suffix);
}
std::string build(std::string_view session, std::string_view suffix, uint64_t segment) {
  return build(session, suffix) + std::to_string(segment);
}
}  // namespace

std::string session_key(std::string_view session) { return build(session, "session"); }
std::string common_key(std::string_view session) { return build(session, "common"); }
std::string state_key(std::string_view session, uint64_t k) { return build(session, "state:", k); }
std::string input_key(std::string_view session, uint64_t k) { return build(session, "input:", k); }
std::string options_key(std::string_view session, uint64_t k) {
  return build(session, "options:", k);
}
std::string output_key(std::string_view session, uint64_t k) {
  return build(session, "output:", k);
}
std::string done_key(std::string_view session) { return build(session, "done"); }
std::string attempts_key(std::string_view session) { return build(session, "attempts"); }
std::string idempotency_key(std::string_view session) { return build(session, "keys"); }
std::string readers_key(std::string_view session) { return build(session, "readers"); }
std::string submits_key(std::string_view session) { return build(session, "submits"); }
std::string events_key(std::string_view session) { return build(session, "events"); }

}  // namespace flame::proto

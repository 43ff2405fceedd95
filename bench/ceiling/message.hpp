// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What the four processes of the ceiling say to each other: a plain struct as the header frame, the
// elements of a run as the payload frame. Cheaper than the real wire on purpose: a ceiling must not
// be held down by what it is the ceiling of.

#include <cstdint>
#include <cstring>
#include <string>

#include "proto/run.hpp"

namespace flame::ceiling {

enum class Kind : uint64_t {
  kHello,        ///< executor: `count` is its credit in tasks
  kSubmit,       ///< client: `number` as in flame:{S}:submits
  kAcknowledge,  ///< broker to client, after the store has the tasks
  kTasks,        ///< broker to executor, after the store has them as running
  kDone,         ///< executor: outputs and times
  kResults,      ///< broker to client, after the store has them; `number` is the index in done
  kRead,         ///< client: all entries of done below `number` are used
};

struct Head {
  Kind kind = Kind::kHello;
  uint64_t first = 0;
  uint64_t count = 0;
  uint64_t number = 0;
  uint64_t base_ms = 0;
  uint64_t start_us = 0;  ///< after base_ms
  uint64_t end_us = 0;

  proto::Run run() const { return {first, count}; }
};

inline std::string to_bytes(const Head& head) {
  return {reinterpret_cast<const char*>(&head), sizeof head};
}

/// The processes are of one build and trust each other; anything else is a mistake of the harness.
inline bool from_bytes(const std::string& bytes, Head& head) {
  if (bytes.size() != sizeof head) return false;
  std::memcpy(&head, bytes.data(), sizeof head);
  return true;
}

}  // namespace flame::ceiling

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Why nothing goes on, and when to say so. What the broker cannot do yet is tried again in silence;
// somebody who waits for it learns the reason after a second, and each reason once.

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "client/cpp/src/core/events.hpp"
#include "proto/error.hpp"

namespace flame::client {

class WaitingReasons {
 public:
  /// What is held up. One does not end with the other: a listing is answered while every submit is
  /// refused.
  enum What : uint8_t { kLink, kRequests, kSubmits, kWhats };

  void held_up(What what, const proto::Error& reason, int64_t now_us);
  void goes_on(What what) { held_[what] = {}; }

  /// A reason that lasts and was not said yet.
  std::optional<proto::Error> due(int64_t now_us);
  int64_t deadline() const;

 private:
  struct Held {
    proto::Error reason;         ///< kOk: not held up
    int64_t say_at_us = kNever;  ///< kNever: said, or not held up
  };
  std::array<Held, kWhats> held_;
  std::set<std::string> said_;
};

}  // namespace flame::client

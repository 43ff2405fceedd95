// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/cpp/src/core/waiting.hpp"

#include <algorithm>

#include "proto/time.hpp"

namespace flame::client {

namespace {
constexpr int64_t kSilentUs = proto::kUsPerSecond;
// Reasons are the broker's text. If they never end, they are not worth saying any more.
constexpr size_t kSaidMax = 64;
}  // namespace

void WaitingReasons::held_up(What what, const proto::Error& reason, int64_t now_us) {
  Held& held = held_[what];
  if (held.reason.code == proto::Code::kOk) {
    held.say_at_us = now_us + kSilentUs;
  } else if (held.reason.message != reason.message && held.say_at_us == kNever) {
    held.say_at_us = now_us;  // held up for long already: only the reason is new
  }
  held.reason = reason;
}

std::optional<proto::Error> WaitingReasons::due(int64_t now_us) {
  for (Held& held : held_) {
    if (held.say_at_us > now_us) continue;
    held.say_at_us = kNever;
    if (said_.size() < kSaidMax && said_.insert(held.reason.message).second) return held.reason;
  }
  return std::nullopt;
}

int64_t WaitingReasons::deadline() const {
  auto first = std::min_element(held_.begin(), held_.end(), [](const Held& a, const Held& b) {
    return a.say_at_us < b.say_at_us;
  });
  return first->say_at_us;
}

}  // namespace flame::client

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What running tasks say of themselves, as executors tell the broker and the broker tells watchers.

#include <utility>
#include <vector>

#include "proto/limits.hpp"
#include "proto/messages.hpp"

namespace flame::proto {

/// Of one message: below header_bytes_max with the longest texts.
inline constexpr size_t kProgressReportsMax = 32;
static_assert(kProgressReportsMax * 2 * kProgressTextBytesMax < kHeaderBytesMax);

/// Message: TaskProgress or Progress. As many as it takes; none without a report.
template <class Message>
std::vector<Message> in_messages(SessionUid uid, std::vector<ProgressReport> reports) {
  std::vector<Message> messages;
  for (auto& report : reports) {
    if (messages.empty() || messages.back().reports.size() == kProgressReportsMax)
      messages.push_back({uid, {}});
    messages.back().reports.push_back(std::move(report));
  }
  return messages;
}

}  // namespace flame::proto

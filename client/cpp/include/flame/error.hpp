// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What goes wrong, as one exception with a code. Codes are permanent numbers, the same on the wire,
// in Redis and in every client; docs/protocol.md explains each.

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace flame {

enum class Code : uint16_t {
  kOk = 0,
  kBadRequest = 1,
  kBadName = 2,
  kTooLarge = 3,
  kNotFound = 4,
  kAlreadyExists = 5,
  kWrongState = 6,
  kGone = 7,
  kGap = 8,
  kTrimmed = 9,
  kUnsupported = 10,
  kRefused = 11,
  kDuplicate = 12,
  kForgotten = 13,
  kConflict = 14,
  kBadFrame = 32,
  kVersion = 33,
  kCluster = 34,
  kResync = 35,
  kBusy = 64,
  kStoreDown = 65,
  kStoreRefused = 66,
  kRecovering = 67,
  kShuttingDown = 68,
  kLostLineage = 69,
  kTaskFailed = 96,
  kTaskCrashed = 97,
  kTaskTimeout = 98,
  kTaskOutputTooLarge = 99,
  kTaskCancelled = 100,
  kTaskServiceFailed = 101,
  kLostByStore = 102,
  kNoBroker = 128,
  kTimeout = 129,
  kInterrupted = 130,
  kSystem = 131,
};

/// The code's permanent name: `not_found`.
std::string_view to_string(Code code);

/// what() says what happened, why, and what to do next.
class Error : public std::runtime_error {
 public:
  Error(Code code, const std::string& message, uint32_t retry_after_ms = 0)
      : std::runtime_error(message), code_(code), retry_after_ms_(retry_after_ms) {}

  Code code() const { return code_; }
  /// The same call may succeed later; 0 if not, or if the code does not say when.
  uint32_t retry_after_ms() const { return retry_after_ms_; }

 private:
  Code code_;
  uint32_t retry_after_ms_;
};

}  // namespace flame

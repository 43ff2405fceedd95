// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The permanent numbers of messages, and what the header of each begins with.

#include <cstdint>

namespace flame::proto {

inline constexpr uint8_t kProtocolMajor = 1;
inline constexpr uint8_t kProtocolMinor = 0;

/// Permanent numbers; a removed one stays as deprecated_N. Room: 1-15 both ways, 16-47 client ->
/// broker, 48-79 broker -> client, 80-103 executor -> broker, 104-127 broker -> executor.
enum class MessageType : uint8_t {
  kError = 1,
  kBeat = 2,
  kResync = 3,
  kBye = 4,

  kClientHello = 16,
  kCreateSession = 17,
  kOpenSession = 18,
  kSubmit = 19,
  kWatch = 20,
  kResultsAck = 21,
  kCloseSession = 22,
  kDeleteSession = 23,
  kWaitSession = 24,
  kList = 25,
  kView = 26,
  kRegisterApplication = 27,
  kUnregisterApplication = 28,
  kRecover = 29,
  kCancelTasks = 30,
  kGetTasks = 33,
  kUpdateApplication = 34,
  kUpdateCommon = 35,
  kWatchTask = 36,
  kHoldExecutor = 37,
  kGetCommon = 39,
  kGetLogs = 40,
  kPickVictims = 41,
  // 31 suspend, 32 resume, 38 retry: numbered room.

  kWelcome = 48,
  kOk = 49,
  kSessionInfo = 50,
  kSubmitAck = 51,
  kWatching = 52,
  kResults = 53,
  kListing = 54,
  kSessionChanged = 55,
  kProgress = 56,
  // 57 lost by store: numbered room.
  kCancelled = 58,
  kTasks = 59,
  kCommonData = 60,
  kLogs = 61,

  kExecutorHello = 80,
  kWindow = 81,
  kTaskResults = 82,
  kReturned = 83,
  kBound = 84,
  kDraining = 85,
  kTaskProgress = 86,
  kOutput = 87,

  kExecutorWelcome = 104,
  kSessionContext = 105,
  kBind = 106,
  kDispatch = 107,
  kRecorded = 108,
  kTakeBack = 109,
  kCancelRuns = 110,
  kDrain = 111,
  kReadOutput = 113,
};

/// The part of the header that every message has.
struct Envelope {
  uint32_t link = 0;
  uint64_t sequence = 0;
  friend bool operator==(const Envelope&, const Envelope&) = default;
};

}  // namespace flame::proto

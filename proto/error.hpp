// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Expected failures: one table of codes for the wire, the C++ client and Python, and the Result
// that carries them. A dropped Result is a compiler error.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace flame::proto {

/// What a caller may do with a failed call.
enum class Retry : uint8_t {
  kNo,     ///< the same call fails again
  kLater,  ///< the same call may succeed; wait retry_after first
  kAgain,  ///< it is not known whether the call took effect; repeating it is safe
};

/// Permanent numbers: they stand on the wire and in Redis. New ones are added at the end of their
/// group.
enum class Code : uint16_t {
  kOk = 0,
  // What the caller asked for.
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
  // Where it was asked.
  kBadFrame = 32,
  kVersion = 33,
  kCluster = 34,
  kResync = 35,
  // When it was asked.
  kBusy = 64,
  kStoreDown = 65,
  kStoreRefused = 66,
  kRecovering = 67,
  kShuttingDown = 68,
  kLostLineage = 69,
  // Why a task did not succeed.
  kTaskFailed = 96,
  kTaskCrashed = 97,
  kTaskTimeout = 98,
  kTaskOutputTooLarge = 99,
  kTaskCancelled = 100,
  kTaskServiceFailed = 101,
  kLostByStore = 102,
  // On the caller's own side.
  kNoBroker = 128,
  kTimeout = 129,
  kInterrupted = 130,
  kSystem = 131,
};

struct CodeRow {
  Code code;
  std::string_view name;
  Retry retry;
  std::string_view meaning;
};

/// The table behind docs/protocol.md; a test compares the two.
inline constexpr std::array kCodes = {
    CodeRow{Code::kOk, "ok", Retry::kNo, "it worked"},
    CodeRow{Code::kBadRequest, "bad_request", Retry::kNo, "a field is missing or makes no sense"},
    CodeRow{Code::kBadName, "bad_name", Retry::kNo, "a name has a character or length not allowed"},
    CodeRow{Code::kTooLarge, "too_large", Retry::kNo, "a payload is above its limit"},
    CodeRow{Code::kNotFound, "not_found", Retry::kNo,
            "no such session, application, executor or task"},
    CodeRow{Code::kAlreadyExists, "already_exists", Retry::kNo,
            "the name is taken with other attributes"},
    CodeRow{Code::kWrongState, "wrong_state", Retry::kNo, "the session's state does not allow it"},
    CodeRow{Code::kGone, "gone", Retry::kNo, "the session of that uid is deleted"},
    CodeRow{Code::kGap, "gap", Retry::kAgain,
            "a submit before this one is missing: resend from it"},
    CodeRow{Code::kTrimmed, "trimmed", Retry::kNo,
            "the cursor lies before the first result still kept"},
    CodeRow{Code::kUnsupported, "unsupported", Retry::kNo,
            "this version or this store cannot do that"},
    CodeRow{Code::kRefused, "refused", Retry::kNo, "not allowed"},
    CodeRow{Code::kDuplicate, "duplicate", Retry::kNo,
            "the task has a recorded result already; this one is not recorded"},
    CodeRow{Code::kForgotten, "forgotten", Retry::kNo,
            "the client id was not used for so long that its submits are forgotten"},
    CodeRow{Code::kConflict, "conflict", Retry::kNo, "somebody else changed it since it was read"},
    CodeRow{Code::kBadFrame, "bad_frame", Retry::kNo, "a frame does not decode"},
    CodeRow{Code::kVersion, "version", Retry::kNo, "the peer speaks another major version"},
    CodeRow{Code::kCluster, "cluster", Retry::kNo, "the peer belongs to another cluster"},
    CodeRow{Code::kResync, "resync", Retry::kAgain, "messages were lost: say hello again"},
    CodeRow{Code::kBusy, "busy", Retry::kLater, "the store or the ring is nearly full"},
    CodeRow{Code::kStoreDown, "store_down", Retry::kLater, "Redis does not answer"},
    CodeRow{Code::kStoreRefused, "store_refused", Retry::kLater, "Redis refuses to write"},
    CodeRow{Code::kRecovering, "recovering", Retry::kLater,
            "the broker is still reading its state"},
    CodeRow{Code::kShuttingDown, "shutting_down", Retry::kLater, "the process is leaving"},
    CodeRow{Code::kLostLineage, "lost_lineage", Retry::kLater,
            "Redis lost confirmed writes; flmctl recover --accept-loss goes on"},
    CodeRow{Code::kTaskFailed, "task_failed", Retry::kNo, "the service answered with an error"},
    CodeRow{Code::kTaskCrashed, "task_crashed", Retry::kNo,
            "the service died with the task in hand, as often as max_attempts allows"},
    CodeRow{Code::kTaskTimeout, "task_timeout", Retry::kNo,
            "the task ran longer than task_timeout, as often as max_attempts allows"},
    CodeRow{Code::kTaskOutputTooLarge, "task_output_too_large", Retry::kNo,
            "the output is above its limit"},
    CodeRow{Code::kTaskCancelled, "task_cancelled", Retry::kNo, "cancelled before it finished"},
    CodeRow{Code::kTaskServiceFailed, "task_service_failed", Retry::kNo,
            "the service could not be started or could not enter the session"},
    CodeRow{Code::kLostByStore, "lost_by_store", Retry::kNo, "Redis lost the task's input"},
    CodeRow{Code::kNoBroker, "no_broker", Retry::kLater, "nothing answers at the endpoint"},
    CodeRow{Code::kTimeout, "timeout", Retry::kAgain,
            "no answer in time; it may still take effect"},
    CodeRow{Code::kInterrupted, "interrupted", Retry::kAgain, "stopped by a signal"},
    CodeRow{Code::kSystem, "system", Retry::kNo, "the operating system refused a call"},
};

const CodeRow& row_of(Code code);
inline std::string_view name_of(Code code) { return row_of(code).name; }
/// The code behind a number from the wire; unknown ones become kBadRequest.
Code code_from(uint64_t number);
/// The code of that name; "" is kOk, unknown ones become kBadRequest.
Code code_named(std::string_view name);

/// What happened, why, and what to do next: a sentence for the person who reads it.
struct Error {
  Code code = Code::kOk;
  std::string message;
  uint32_t retry_after_ms = 0;  ///< only with Retry::kLater

  friend bool operator==(const Error&, const Error&) = default;
};

/// A value or an Error. [[nodiscard]] on the type makes the compiler refuse a dropped one.
template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
  // `return Error{...}` is the whole point. NOLINTNEXTLINE(google-explicit-constructor)
  Result(Error error) : tl::expected<T, Error>(tl::unexpect, std::move(error)) {}
};
template <>
class [[nodiscard]] Result<void> : public tl::expected<void, Error> {
 public:
  using tl::expected<void, Error>::expected;
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(Error error) : tl::expected<void, Error>(tl::unexpect, std::move(error)) {}
};
using Status = Result<void>;

}  // namespace flame::proto

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "flame/error.hpp"

#include <array>
#include <utility>

#include "client/cpp/src/errors.hpp"

namespace flame {

// The public enum repeats the table of proto/error.hpp, which is not installed. A code that is new
// there makes the count differ.
namespace {
constexpr std::array kPublic = {
    std::pair(Code::kOk, proto::Code::kOk),
    std::pair(Code::kBadRequest, proto::Code::kBadRequest),
    std::pair(Code::kBadName, proto::Code::kBadName),
    std::pair(Code::kTooLarge, proto::Code::kTooLarge),
    std::pair(Code::kNotFound, proto::Code::kNotFound),
    std::pair(Code::kAlreadyExists, proto::Code::kAlreadyExists),
    std::pair(Code::kWrongState, proto::Code::kWrongState),
    std::pair(Code::kGone, proto::Code::kGone),
    std::pair(Code::kGap, proto::Code::kGap),
    std::pair(Code::kTrimmed, proto::Code::kTrimmed),
    std::pair(Code::kUnsupported, proto::Code::kUnsupported),
    std::pair(Code::kRefused, proto::Code::kRefused),
    std::pair(Code::kDuplicate, proto::Code::kDuplicate),
    std::pair(Code::kForgotten, proto::Code::kForgotten),
    std::pair(Code::kConflict, proto::Code::kConflict),
    std::pair(Code::kBadFrame, proto::Code::kBadFrame),
    std::pair(Code::kVersion, proto::Code::kVersion),
    std::pair(Code::kCluster, proto::Code::kCluster),
    std::pair(Code::kResync, proto::Code::kResync),
    std::pair(Code::kBusy, proto::Code::kBusy),
    std::pair(Code::kStoreDown, proto::Code::kStoreDown),
    std::pair(Code::kStoreRefused, proto::Code::kStoreRefused),
    std::pair(Code::kRecovering, proto::Code::kRecovering),
    std::pair(Code::kShuttingDown, proto::Code::kShuttingDown),
    std::pair(Code::kLostLineage, proto::Code::kLostLineage),
    std::pair(Code::kTaskFailed, proto::Code::kTaskFailed),
    std::pair(Code::kTaskCrashed, proto::Code::kTaskCrashed),
    std::pair(Code::kTaskTimeout, proto::Code::kTaskTimeout),
    std::pair(Code::kTaskOutputTooLarge, proto::Code::kTaskOutputTooLarge),
    std::pair(Code::kTaskCancelled, proto::Code::kTaskCancelled),
    std::pair(Code::kTaskServiceFailed, proto::Code::kTaskServiceFailed),
    std::pair(Code::kLostByStore, proto::Code::kLostByStore),
    std::pair(Code::kNoBroker, proto::Code::kNoBroker),
    std::pair(Code::kTimeout, proto::Code::kTimeout),
    std::pair(Code::kInterrupted, proto::Code::kInterrupted),
    std::pair(Code::kSystem, proto::Code::kSystem),
};
constexpr bool all_equal() {
  for (const auto& [ours, theirs] : kPublic) {
    if (static_cast<uint16_t>(ours) != static_cast<uint16_t>(theirs)) return false;
  }
  return kPublic.size() == proto::kCodes.size();
}
static_assert(all_equal());
}  // namespace

std::string_view to_string(Code code) {
  return proto::name_of(proto::code_from(static_cast<uint64_t>(code)));
}

namespace detail {
void raise(const proto::Error& error) {
  throw Error(static_cast<Code>(error.code), error.message, error.retry_after_ms);
}
}  // namespace detail

}  // namespace flame

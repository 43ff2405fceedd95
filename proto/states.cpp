// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "proto/states.hpp"

namespace flame::proto {

namespace {
constexpr std::array<std::string_view, 5> kSessionNames = {"Open", "Suspended", "Closing", "Closed",
                                                           "Deleting"};
constexpr std::array<std::string_view, 4> kExecutorNames = {"Connected", "Draining", "Lost",
                                                            "Left"};
constexpr std::array<std::string_view, 4> kDurabilityNames = {"memory", "stored", "synced",
                                                              "replicated"};
constexpr std::array<std::string_view, 4> kHoldNames = {"", "cordoned", "drained", "resting"};
}  // namespace

std::string_view name_of(TaskState state) {
  switch (state) {
    case TaskState::kPending:
      return "Pending";
    case TaskState::kRunning:
      return "Running";
    case TaskState::kSucceed:
      return "Succeed";
    case TaskState::kFailed:
      return "Failed";
    case TaskState::kCancelled:
      return "Cancelled";
  }
  return "?";
}

std::string_view name_of(SessionState state) { return kSessionNames[static_cast<size_t>(state)]; }

std::optional<SessionState> session_state_from(std::string_view name) {
  for (auto state : kSessionStates) {
    if (name_of(state) == name) return state;
  }
  return std::nullopt;
}

std::string_view name_of(ExecutorState state) { return kExecutorNames[static_cast<size_t>(state)]; }

std::string_view name_of(Hold hold) { return kHoldNames[static_cast<size_t>(hold)]; }

Hold hold_from(std::string_view name) {
  for (size_t i = 0; i < kHoldNames.size(); i++) {
    if (kHoldNames[i] == name) return static_cast<Hold>(i);
  }
  return Hold::kNone;
}

std::string_view name_of(Durability level) { return kDurabilityNames[static_cast<size_t>(level)]; }

std::optional<Durability> durability_from(std::string_view name) {
  for (size_t i = 0; i < kDurabilityNames.size(); i++) {
    if (kDurabilityNames[i] == name) return static_cast<Durability>(i);
  }
  return std::nullopt;
}

}  // namespace flame::proto

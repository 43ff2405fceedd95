// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Slots, and the service processes in them.

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "executor/core/types.hpp"
#include "proto/limits.hpp"
#include "runtime/backoff.hpp"

namespace flame::executor {

/// A frame that the service has. What is answered is no longer in `run`.
struct HandedFrame {
  proto::Ticket ticket;
  proto::Run run;
  std::vector<proto::Run> cancelled;  ///< parts whose results nobody wants
  bool next = false;   ///< neither it nor what follows is begun before all earlier are answered
  proto::Now began{};  ///< its oldest unanswered task, at the latest; of `next` ones not yet
};

//   (start) ─▶ Entering ─Entered▶ Serving ─leave▶ Leaving ─Left▶ Warm ─enter▶ Entering
//                  └── refused, timed out, other application: Stopping ──Exited──▶ gone
//   Exited in any state ends it; a slot that still wants its session starts the next after a
//   back-off.
struct Instance {
  enum class State : uint8_t { kEntering, kServing, kLeaving, kWarm, kStopping };

  InstanceId id = 0;
  State state = State::kEntering;
  size_t slot = 0;  ///< not while stopping: the slot is free then
  proto::SessionUid uid = 0;
  uint64_t context = 0;  ///< version of the session's context that it entered with
  proto::Application application;
  std::string owner;
  bool counted = false;  ///< in its session's `serving`

  /// Works on several tasks at the same time, each a frame of its own, answered in any order.
  bool concurrent() const { return application.concurrency > 1; }
  /// Has room for one more; a task that was in hand when somebody died stays alone.
  bool has_room() const {
    if (frames.empty()) return true;
    return frames.size() < application.concurrency && frames.front().ticket.attempt == 1;
  }

  bool takes_next = false;     ///< as it said when it entered
  bool has_next = false;       ///< a `next` frame is behind the front of `frames`
  bool may_have_next = false;  ///< listed in its session's `busy`

  std::deque<HandedFrame> frames;
  int64_t measured_from_us = 0;
  uint64_t answered_tasks = 0;  ///< in this turn, not measured yet
  uint64_t answered_bytes = 0;
  int64_t answered_us = 0;  ///< by the service's clock; 0: it did not say

  int64_t deadline_us = 0;   ///< 0: none
  int64_t cancel_by_us = 0;  ///< the task that runs is cancelled and ends until then, or is killed
  proto::Code killed_code = proto::Code::kOk;
  std::string killed_because;
};

/// It answers one by one. A native service gathers by itself, a shell has longer tasks than that.
inline bool gathered_here(const Instance& instance) { return instance.application.shim == "grpc"; }

struct Slot {
  size_t number = 0;
  proto::SlotBinding wanted;
  std::optional<proto::Bound> answer;  ///< to `wanted`, once there is one
  InstanceId instance = 0;
  int64_t retry_at_us = 0;  ///< 0: at once
  runtime::Backoff backoff{100 * proto::kUsPerMs, 5 * proto::kUsPerSecond};
};

}  // namespace flame::executor

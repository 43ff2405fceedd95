// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// State machines as tables: the core, both stores and the drawings in docs/ are tested against
// them.

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace flame::proto {

/// One letter per task in flame:{S}:state:K. The letters are on disk: do not change them.
enum class TaskState : char {
  kPending = 'P',    ///< entered: submit, requeue, retry by hand. left: dispatch, cancel
  kRunning = 'R',    ///< entered: dispatch. left: result, loss (requeue), cancel
  kSucceed = 'S',    ///< final: a result without an error was recorded
  kFailed = 'F',     ///< final but for a retry by hand, which opens a new generation
  kCancelled = 'C',  ///< final: cancelled by the user or by closing the session
};
inline constexpr std::array kTaskStates = {TaskState::kPending, TaskState::kRunning,
                                           TaskState::kSucceed, TaskState::kFailed,
                                           TaskState::kCancelled};

enum class TaskEvent : uint8_t { kDispatch, kRequeue, kSucceed, kFail, kCancel, kRetry };

struct TaskStep {
  TaskState from;
  TaskEvent event;
  TaskState to;
};

inline constexpr std::array kTaskSteps = {
    TaskStep{TaskState::kPending, TaskEvent::kDispatch, TaskState::kRunning},
    TaskStep{TaskState::kPending, TaskEvent::kCancel, TaskState::kCancelled},
    // A late result of a run that was requeued meanwhile: recorded, the first one wins.
    TaskStep{TaskState::kPending, TaskEvent::kSucceed, TaskState::kSucceed},
    TaskStep{TaskState::kPending, TaskEvent::kFail, TaskState::kFailed},
    TaskStep{TaskState::kRunning, TaskEvent::kRequeue, TaskState::kPending},
    TaskStep{TaskState::kRunning, TaskEvent::kSucceed, TaskState::kSucceed},
    TaskStep{TaskState::kRunning, TaskEvent::kFail, TaskState::kFailed},
    TaskStep{TaskState::kRunning, TaskEvent::kCancel, TaskState::kCancelled},
    TaskStep{TaskState::kFailed, TaskEvent::kRetry, TaskState::kPending},
};

/// The state after `event`, or nothing: the event is refused and counted.
constexpr std::optional<TaskState> next_state(TaskState from, TaskEvent event) {
  for (const auto& step : kTaskSteps) {
    if (step.from == from && step.event == event) return step.to;
  }
  return std::nullopt;
}
constexpr bool is_final(TaskState state) {
  return state != TaskState::kPending && state != TaskState::kRunning;
}
std::string_view name_of(TaskState state);

/// Stored as their names.
enum class SessionState : uint8_t {
  kOpen = 0,  ///< entered: create, resume. left: close, suspend, delete
  kSuspended =
      1,  ///< nothing is dispatched; the session's `reason` says why. left: resume, close, delete
  kClosing = 2,  ///< pending tasks are cancelled, running ones finish. left: the last one finished,
                 ///< suspend, delete
  kClosed = 3,   ///< final but for delete, and suspend where Redis refuses its last results
  kDeleting = 4,  ///< keys are being unlinked; answers `gone`
};
inline constexpr std::array kSessionStates = {SessionState::kOpen, SessionState::kSuspended,
                                              SessionState::kClosing, SessionState::kClosed,
                                              SessionState::kDeleting};

enum class SessionEvent : uint8_t { kClose, kLastTaskDone, kSuspend, kResume, kDelete };

struct SessionStep {
  SessionState from;
  SessionEvent event;
  SessionState to;
};

inline constexpr std::array kSessionSteps = {
    SessionStep{SessionState::kOpen, SessionEvent::kClose, SessionState::kClosing},
    SessionStep{SessionState::kOpen, SessionEvent::kSuspend, SessionState::kSuspended},
    SessionStep{SessionState::kOpen, SessionEvent::kDelete, SessionState::kDeleting},
    SessionStep{SessionState::kSuspended, SessionEvent::kClose, SessionState::kClosing},
    SessionStep{SessionState::kSuspended, SessionEvent::kResume, SessionState::kOpen},
    SessionStep{SessionState::kSuspended, SessionEvent::kDelete, SessionState::kDeleting},
    SessionStep{SessionState::kClosing, SessionEvent::kLastTaskDone, SessionState::kClosed},
    SessionStep{SessionState::kClosing, SessionEvent::kSuspend, SessionState::kSuspended},
    SessionStep{SessionState::kClosing, SessionEvent::kDelete, SessionState::kDeleting},
    SessionStep{SessionState::kClosed, SessionEvent::kSuspend, SessionState::kSuspended},
    SessionStep{SessionState::kClosed, SessionEvent::kDelete, SessionState::kDeleting},
};

constexpr std::optional<SessionState> next_state(SessionState from, SessionEvent event) {
  for (const auto& step : kSessionSteps) {
    if (step.from == from && step.event == event) return step.to;
  }
  return std::nullopt;
}
std::string_view name_of(SessionState state);
std::optional<SessionState> session_state_from(std::string_view name);

/// Stored as their names in flame:executors.
enum class ExecutorState : uint8_t {
  kConnected = 0,  ///< entered: hello. left: drain, lost, left
  kDraining = 1,   ///< finishes what it holds, takes nothing new. left: left, lost
  kLost = 2,       ///< its lease ended; its tasks went back. left: hello
  kLeft = 3,       ///< said bye with nothing in hand. left: hello
};
std::string_view name_of(ExecutorState state);

/// What an executor was told about new work. Stored as their names in flame:executors.
enum class Hold : uint8_t {
  kNone = 0,      ///< takes tasks
  kCordoned = 1,  ///< finishes what it holds, takes nothing new until it is uncordoned
  kDrained = 2,   ///< the same; then it leaves by itself, or its provider removes it
  kResting = 3,   ///< cordoned by the autoscaler, which lets it go once it is idle, or frees it
};
/// "" for none.
std::string_view name_of(Hold hold);
Hold hold_from(std::string_view name);

/// What an acknowledgement means, in rising order.
enum class Durability : uint8_t { kMemory = 0, kStored = 1, kSynced = 2, kReplicated = 3 };
std::string_view name_of(Durability level);
std::optional<Durability> durability_from(std::string_view name);

namespace check {
constexpr bool has_way_out(TaskState state) {
  for (const auto& step : kTaskSteps) {
    if (step.from == state) return true;
  }
  return false;
}
constexpr bool has_way_out(SessionState state) {
  for (const auto& step : kSessionSteps) {
    if (step.from == state) return true;
  }
  return false;
}
}  // namespace check
static_assert(check::has_way_out(TaskState::kPending) && check::has_way_out(TaskState::kRunning));
static_assert(!check::has_way_out(TaskState::kSucceed) &&
              !check::has_way_out(TaskState::kCancelled));
static_assert(check::has_way_out(SessionState::kOpen) &&
              check::has_way_out(SessionState::kClosing));
static_assert(!check::has_way_out(SessionState::kDeleting));

}  // namespace flame::proto

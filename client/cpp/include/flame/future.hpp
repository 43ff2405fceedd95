// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The result of one task, now or later.
//
// Threads: a Future may be copied and used from any thread. Callbacks run on the client's I/O
// thread (or at once, if the result is there already): they must return quickly and must not wait
// for another future.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "flame/error.hpp"

namespace flame {

namespace detail {
class RunState;
class CompletionQueue;
}  // namespace detail

struct TaskResult {
  uint64_t task = 0;  ///< 1, 2, 3 ... within the session
  Code code = Code::kOk;
  std::string output = {};  ///< empty unless code is kOk
  std::string reason =
      {};  ///< why it did not succeed: message, exit code or signal, tail of stderr
  std::string executor = {};
  uint32_t attempt = 1;  ///< above 1: it was tried more than once

  bool ok() const { return code == Code::kOk; }
};

class Future {
 public:
  Future() = default;

  bool valid() const { return state_ != nullptr; }
  /// The task's id. Waits until the broker has acknowledged the submit; throws what it answered
  /// instead.
  uint64_t id() const;

  bool ready() const;
  void wait() const;
  /// False if there is no result after `time`.
  bool wait_for(std::chrono::milliseconds time) const;

  /// Waits; the output, or throws Error with the task's code and reason.
  std::string get() const;
  /// Waits; never throws for a task that failed. Throws if the submit itself was refused.
  TaskResult result() const;

  /// Calls `callback` once, when the task has a result.
  void then(std::function<void(const TaskResult&)> callback) const;

 private:
  friend class Session;
  friend class detail::CompletionQueue;
  Future(std::shared_ptr<detail::RunState> state, size_t index)
      : state_(std::move(state)), index_(index) {}

  std::shared_ptr<detail::RunState> state_;  ///< shared by the tasks of one run
  size_t index_ = 0;
};

/// Futures in the order in which they become ready:
///   for (flame::Future& f : flame::as_completed(futures)) use(f.get());
/// Used by one thread.
class AsCompleted {
 public:
  explicit AsCompleted(std::span<const Future> futures);
  ~AsCompleted();
  AsCompleted(AsCompleted&&) noexcept;
  AsCompleted& operator=(AsCompleted&&) noexcept;

  /// The next ready one; nothing when all were returned.
  std::optional<Future> next();

  class Iterator {
   public:
    explicit Iterator(AsCompleted* of) : of_(of) { advance(); }
    Future& operator*() { return *current_; }
    Iterator& operator++() { return advance(), *this; }
    bool operator!=(std::nullptr_t) const { return current_.has_value(); }

   private:
    void advance() { current_ = of_->next(); }
    AsCompleted* of_;
    std::optional<Future> current_;
  };
  Iterator begin() { return Iterator(this); }
  std::nullptr_t end() { return nullptr; }

 private:
  std::shared_ptr<detail::CompletionQueue> queue_;
};

inline AsCompleted as_completed(std::span<const Future> futures) { return AsCompleted(futures); }

/// True if all are ready within `time`.
bool wait_all(std::span<const Future> futures, std::chrono::milliseconds time);

}  // namespace flame

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Runs on their way from the threads that submit to the I/O thread. The last one stays open while
// it waits: single submits join it, so that tasks submitted in quick succession travel together
// without any timer.

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "client/cpp/src/run_state.hpp"

namespace flame::detail {

/// A run that waits. `state` is null where nobody holds futures.
struct WaitingRun {
  std::string payload;
  uint64_t count = 0;
  std::shared_ptr<RunState> state;
  bool open = false;
};

class SubmitQueue {
 public:
  /// Adds one task; nothing if the queue is full and `block` is false. `wake` is set if the I/O
  /// thread must be told. Throws what close() was called with.
  struct Place {
    std::shared_ptr<RunState> state;
    size_t index;
  };
  std::optional<Place> add(std::string_view input, bool block, bool& wake);
  /// Adds a whole run; blocks while full.
  void add_run(WaitingRun run, bool& wake);

  /// The I/O thread takes the oldest. After nothing, the next add wakes it.
  std::optional<WaitingRun> take();

  /// How many runs were ever added.
  uint64_t added();

  /// Adds throw this from now on, and what waits is dropped: how many runs, and whether any of them
  /// had no futures to tell it.
  struct Dropped {
    uint64_t runs = 0;
    bool untold = false;
  };
  Dropped close(const proto::Error& error);

 private:
  using Lock = std::unique_lock<std::mutex>;
  bool wait_for_room(Lock& lock, bool block);
  bool must_wake();

  std::mutex mutex_;
  std::condition_variable room_;
  std::deque<WaitingRun> runs_;
  uint64_t bytes_ = 0;
  uint64_t added_ = 0;
  bool taker_sleeps_ = true;
  std::optional<proto::Error> closed_;
};

}  // namespace flame::detail

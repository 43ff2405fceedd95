// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What the futures of one run share: one lock and one allocation for up to 1,024 tasks.

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "flame/future.hpp"
#include "proto/messages.hpp"

namespace flame::detail {

class RunState {
 public:
  using Callback = std::function<void(const TaskResult&)>;
  using Deadline = std::optional<std::chrono::steady_clock::time_point>;

  /// One more task while the run is still being filled; its index.
  size_t add_task();

  // By the I/O thread.

  /// The tasks' ids begin with `first`.
  void acknowledge(proto::TaskId first);
  proto::Run run() const;
  /// Takes the results of the tasks that are in this run. `outputs` are all of the entry. How many
  /// were new.
  uint64_t take(const proto::Results& results, const std::vector<proto::Bytes>& outputs);
  /// All tasks without a result fail with this. `refused`: the submit itself was.
  void fail(const proto::Error& error, bool refused);
  /// Tasks of `run` without a result were lost by the store.
  void lose(const proto::Run& run);

  // By futures. False: the deadline passed.

  bool wait_for_id(const Deadline& deadline) const;
  bool wait(size_t index, const Deadline& deadline) const;
  /// The first task's id, once acknowledged; or why there is none.
  proto::Result<proto::TaskId> first() const;
  TaskResult result(size_t index) const;
  /// Why the submit was refused, if it was.
  std::optional<proto::Error> refusal() const;
  void then(size_t index, Callback callback);

 private:
  struct Slot {
    bool done = false;
    uint32_t origin = 0;  ///< index into origins_
    proto::Bytes output;  ///< a slice of the frame it came in
  };
  struct Origin {
    std::string executor;
    uint32_t attempt = 1;
  };
  using Lock = std::unique_lock<std::mutex>;

  uint32_t origin_of(const proto::Results& results);
  TaskResult result_locked(size_t index) const;
  /// Wakes who waits and calls back, without the lock.
  void announce(Lock lock);

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  proto::TaskId first_ = 0;
  std::vector<Slot> slots_;
  std::vector<Origin> origins_{1};
  std::map<size_t, proto::Error> failures_;
  std::optional<proto::Error> refusal_;
  std::multimap<size_t, Callback> callbacks_;
};

}  // namespace flame::detail

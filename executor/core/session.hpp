// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A session on this executor: what an instance of it needs, and the queue that its slots share.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "executor/core/run_time.hpp"
#include "executor/core/types.hpp"

namespace flame::executor {

/// Tasks of one ticket that were not started.
struct QueuedRun {
  proto::Run run;
  proto::Ticket ticket;
  proto::Bytes payload;
};

class TaskQueue {
 public:
  uint64_t tasks() const { return tasks_; }
  bool empty() const { return runs_.empty(); }
  const QueuedRun& front() const { return runs_.front(); }

  void add(QueuedRun run);
  /// The first tasks of the front run, at most `tasks` of them.
  QueuedRun take(uint64_t tasks);
  /// Drops what is in `run`; tells how many tasks that were.
  uint64_t drop(const proto::Run& run);
  void drop_last();
  std::vector<QueuedRun> take_all();
  const std::deque<QueuedRun>& runs() const { return runs_; }

 private:
  std::deque<QueuedRun> runs_;
  uint64_t tasks_ = 0;
};

/// The tasks of `run` that lie in `part`, with their elements. `part` lies inside.
QueuedRun part_of(const QueuedRun& run, const proto::Run& part);

struct Session {
  proto::SessionUid uid = 0;
  // From SessionContext:
  std::string name;
  std::string owner;
  proto::Application application;
  proto::Bytes common;
  uint64_t context = 0;  ///< version of these four

  TaskQueue queue;
  uint64_t wanted_slots = 0;  ///< slots whose wanted binding it is
  uint64_t serving = 0;       ///< instances that have entered it and are to stay
  /// Of those, the ones with nothing in hand; a concurrent one as long as it has room.
  std::vector<InstanceId> idle;
  /// Those that run one frame and could have the next behind it; the longest running first.
  std::deque<InstanceId> busy;
  RunTime run_time;
  RunTime* prior = nullptr;     ///< the application's, where the next session of it begins
  proto::SessionWindow told{};  ///< the window the broker knows
  bool touched = false;         ///< something of it changed in this turn

  uint64_t frame_tasks() const;
  /// What an instance has in hand before it waits for nothing.
  uint64_t tasks_in_hand() const { return std::max(frame_tasks(), application.concurrency); }
  /// Tasks are so short that one may wait behind another in the service.
  bool may_queue_in_service() const;
  proto::SessionWindow window(bool draining) const;
  /// Different enough from what the broker knows to be worth a message.
  bool window_changed(const proto::SessionWindow& now) const;
  void measure(uint64_t tasks, int64_t us, uint64_t output_bytes);
};

}  // namespace flame::executor

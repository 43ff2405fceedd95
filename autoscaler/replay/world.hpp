// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A trace played against something that decides how many executors there are: tasks are taken in
// the order of their arrival, an executor serves `cold_start` after it was asked for, and who
// decides looks once a round. What comes out is what a user feels and pays. Pure, and exact between
// rounds.

#include <cstdint>
#include <deque>
#include <map>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "autoscaler/core/policy.hpp"
#include "autoscaler/replay/trace.hpp"

namespace flame::autoscaler {

struct Ground {
  uint64_t slots = 1;  ///< of an executor
  uint64_t max = 200;  ///< executors
  int64_t cold_start_us = 5 * proto::kUsPerSecond;
  int64_t round_us = 250 * proto::kUsPerMs;
};

/// What is there at one moment.
struct Scene {
  proto::Now now;
  uint64_t pending = 0;
  uint64_t running = 0;
  int64_t run_us = 0;  ///< of a task, as the broker estimates it; 0: none known
  std::vector<Member> members;
};

struct Step {
  uint64_t add = 0;
  std::vector<std::string> retire = {};   ///< a busy one is killed, and its tasks run again
  std::vector<std::string> cordon = {};   ///< they take nothing new
  std::vector<std::string> restore = {};  ///< cordoned ones that take tasks again
};

/// Who decides. Called once a round, while there is anything to look at.
class Chooser {
 public:
  virtual ~Chooser() = default;
  virtual Step choose(const Scene& scene) = 0;
};

struct Outcome {
  std::string name;
  uint64_t tasks = 0;
  double executor_seconds = 0;  ///< from asked to gone
  uint64_t starts = 0;
  double wait_mean_s = 0, wait_p50_s = 0, wait_p99_s = 0, wait_max_s = 0;  ///< until a task begins
  uint64_t killed = 0;  ///< tasks that were running when their executor was taken away
  /// Steps up within `stabilization` of a step down without a task that came between: flapping.
  uint64_t flaps = 0;
  struct Point {
    int64_t at_us;
    uint64_t executors, serving, waiting;
  };
  std::vector<Point> timeline;  ///< one a minute and at each step
};

/// `stabilization_us` only says what counts as flapping.
Outcome play(const Trace& trace, const Ground& ground, Chooser& chooser, std::string name,
             int64_t stabilization_us);

/// The yardstick. It knows all run times and every arrival up to now, asks for an executor in the
/// moment in which a task comes that would begin earlier on a new one, and lets an executor go when
/// nothing is left to do on it: the least waiting without executors that stand idle. Among slots
/// that are free at once it takes one of the executor that has the longest to go, so that others
/// may end (greedy: not proved to be the fewest executor-seconds).
Outcome play_oracle(const Trace& trace, const Ground& ground);

}  // namespace flame::autoscaler

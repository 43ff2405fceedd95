// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What the autoscaler is told and what it answers, as plain values. Who fills them in: Policy the
// command line, Demand and Member the observer (from Redis and from the provider), Decision the
// scaler. All times are monotonic microseconds.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "proto/time.hpp"

namespace flame::autoscaler {

/// Executors of one application.
struct Bounds {
  uint64_t min = 0;
  uint64_t max = UINT64_MAX;
  friend bool operator==(const Bounds&, const Bounds&) = default;
};

/// What the operator wants. The defaults are those of a local cluster.
struct Policy {
  uint64_t slots = 1;  ///< of each executor that is started, where its application says nothing
  int64_t target_drain_us = 10 * proto::kUsPerSecond;  ///< a backlog should be done within it
  int64_t prior_run_us = proto::kUsPerSecond;          ///< run time until one is known
  Bounds each;                                         ///< of every application not named below
  std::map<std::string, Bounds> of_application;
  uint64_t cluster_min = 0;           ///< executors of all applications, also without any work
  uint64_t cluster_max = UINT64_MAX;  ///< executors of all applications, leaving ones included
  uint64_t spares = 0;                ///< idle executors beyond what the work wants, while it does
  int64_t idle_after_us = 10 * proto::kUsPerSecond;  ///< only then an executor may be let go
  /// A step down goes no lower than the highest wish of this time, and never happens in the first
  /// such time after a start: what was wished before it is not known.
  int64_t stabilization_us = 10 * proto::kUsPerSecond;
  int64_t down_cooldown_us = 2 * proto::kUsPerSecond;  ///< between two steps down
  uint64_t step_up_max = UINT64_MAX;                   ///< executors in one step
  uint64_t step_down_max = UINT64_MAX;
  double tolerance = 0.1;  ///< up: of target_drain; down: of the executors there are
  int64_t start_deadline_us = 30 * proto::kUsPerSecond;  ///< asked until registered
  uint64_t failures_max = 3;  ///< failed starts in a row until nothing more is tried
  int64_t backoff_first_us = 10 * proto::kUsPerSecond;
  int64_t backoff_most_us = 300 * proto::kUsPerSecond;

  Bounds bounds(const std::string& application) const {
    auto found = of_application.find(application);
    return found == of_application.end() ? each : found->second;
  }
};

/// One application, as the broker sees it.
struct Demand {
  uint64_t pending = 0;
  uint64_t running = 0;
  uint64_t busy = 0;      ///< slots with a task in hand, on whatever executor
  uint64_t shared = 0;    ///< slots it may use of executors that serve any application
  uint64_t minimum = 0;   ///< min_instances of its open sessions together
  uint64_t reserved = 0;  ///< of these, what is wanted beyond the sessions' own tasks
  uint64_t usable = 0;    ///< slots that its tasks could use and its sessions may have
  int64_t run_us = 0;     ///< run time of a task: recent quantile; 0: none known
  uint64_t slots = 0;     ///< of an executor of its own; 0: the policy's
  std::string stale;      ///< why these figures may be old; "" if they are not

  uint64_t unfinished() const { return pending + running; }
  friend bool operator==(const Demand&, const Demand&) = default;
};

enum class MemberState : uint8_t {
  kStarting,    ///< asked for, not registered yet. left: registered, gone
  kRegistered,  ///< the broker knows it. left: resting, leaving, gone
  kResting,  ///< finishes what it has, takes nothing new: let go once it is idle, or freed again.
             ///< left: registered, drained, leaving, gone
  kDrained,  ///< idle and held by the broker: let go, or freed again. left: registered, gone
  kLeaving,  ///< drains, takes nothing new. left: gone
};

/// An executor that the provider has (or was asked for), or that somebody else started.
struct Member {
  std::string id;
  std::string application;
  uint64_t slots = 0;
  MemberState state = MemberState::kStarting;
  bool owned = true;     ///< the provider's; others count as capacity and are never let go
  int64_t asked_us = 0;  ///< when it was first seen starting
  int64_t idle_us = 0;   ///< how long it has had no task; 0: it has, or had just now
  uint64_t tasks = 0;    ///< in its hands, when its row was written
  uint64_t exits = 0;    ///< how often it ended before it ever registered
  std::string trouble;   ///< what the provider says of that
  friend bool operator==(const Member&, const Member&) = default;
};

struct Observation {
  std::string frozen;  ///< why nothing may be done at all; "" if all was read and is fresh
  std::map<std::string, Demand> demand;  ///< by application
  std::vector<Member> members;
};

/// Why an application's number is what it is. The names stand in flame:decisions.
enum class Reason : uint8_t {
  kSteady,       ///< what is there is what is wanted
  kGrow,         ///< more were asked for
  kShrink,       ///< idle ones were let go
  kCordon,       ///< fewer would do and none becomes idle: the least busy take nothing new
  kTolerated,    ///< the difference is too small
  kFrozen,       ///< the figures cannot be trusted: nothing is done
  kFailing,      ///< executors do not register: nothing more is asked for now
  kLimited,      ///< max, the cluster's max or the step limit allows no more
  kStabilizing,  ///< fewer are wanted, but not for long enough
  kCooling,      ///< the last step down was just now
  kAllBusy,      ///< fewer are wanted, but none has been idle for long enough
  kMinimum,      ///< what is there is kept as the minimum of the cluster
};
std::string_view name_of(Reason reason);

/// What is to be done for one application, and the numbers it follows from.
struct Decision {
  std::string application;
  Reason reason = Reason::kSteady;
  uint64_t slots_wanted = 0;  ///< by the work alone
  uint64_t wanted = 0;        ///< executors, by the work and minimums; limits may allow fewer
  uint64_t held = 0;          ///< of these, what only the cluster's minimum wants
  uint64_t registered = 0;    ///< owned
  uint64_t starting = 0;
  uint64_t resting = 0;
  uint64_t add = 0;
  std::vector<std::string> cordon;   ///< the least busy: they rest from now on
  std::vector<std::string> retire;   ///< idle ones, longest idle first: the broker drains them, if
                                     ///< they are idle still
  std::vector<std::string> finish;   ///< drained before, and still not wanted: removed
  std::vector<std::string> restore;  ///< resting and drained ones that are wanted again
  std::vector<std::string> failed;   ///< never registered: removed, whatever else is decided
  Demand demand;
  int64_t run_us = 0;  ///< that was reckoned with: measured or the prior
  uint64_t slots = 1;  ///< of an executor
  int64_t target_drain_us = 0;
  int64_t cold_start_us = 0;  ///< measured; 0: not yet
  uint64_t limit = 0;         ///< kLimited: executors that it may have
  int64_t wait_us = 0;        ///< kStabilizing, kCooling, kFailing: until it may go on
  std::string because;        ///< kFrozen: why; kFailing: what the provider says

  uint64_t have() const { return registered + starting; }
  /// What was begun in an earlier decision is no news.
  bool acts() const {
    return add > 0 || !cordon.empty() || !retire.empty() || !restore.empty() || !failed.empty();
  }
  friend bool operator==(const Decision&, const Decision&) = default;
};

/// One sentence for the person who asks why.
std::string explain(const Decision& decision);

}  // namespace flame::autoscaler

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The policy: what was observed and now in, a decision per application out. Pure but for what it
// remembers: wishes of the stabilization window, the last step down, how long starts take, failed
// starts. Forgetting all of it (a restart) makes it slower to shrink, never wrong; how long starts
// take is given back, since no new start may come for days.
//
// It relies on: a member that was asked for is listed as starting until it registered or is gone
// (capacity already asked for is counted there and nowhere else), and decisions are carried out, or
// failed, before the next call.

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "autoscaler/core/policy.hpp"
#include "runtime/backoff.hpp"

namespace flame::autoscaler {

class Scaler {
 public:
  Scaler(Policy policy, proto::Now now);

  /// Before the first decision: how long starts took as an earlier one measured it, by application.
  void recall(const std::map<std::string, int64_t>& cold_starts);

  /// One decision for each application that has demand or members, by name.
  std::vector<Decision> decide(const Observation& seen, proto::Now now);

  const Policy& policy() const { return policy_; }

 private:
  /// What is remembered of one application.
  struct Memory {
    std::deque<std::pair<int64_t, uint64_t>> wishes;  ///< when, executors: falling with time
    int64_t last_down_us = INT64_MIN / 2;
    int64_t all_busy_us = 0;  ///< since when one could go and none is idle for long enough; 0: not
    int64_t cold_start_us = 0;
    int64_t asked_us = 0;                     ///< when more were asked for last
    std::map<std::string, int64_t> starting;  ///< id -> when it was asked for
    std::set<std::string> registered;
    std::set<std::string> failed;  ///< counted already, not gone yet
    uint64_t failures = 0;         ///< in a row
    int64_t blocked_until_us = 0;
    std::string trouble;
    runtime::Backoff backoff;
    explicit Memory(const Policy& policy)
        : backoff(policy.backoff_first_us, policy.backoff_most_us) {}
  };
  /// An application in the course of one call.
  struct Case {
    Decision decision;
    Memory* memory = nullptr;
    Bounds bounds;
    std::vector<const Member*> members;  ///< owned
    uint64_t present = 0;                ///< owned, leaving and failed ones included
    uint64_t wish = 0;                   ///< executors wanted, within its own limits
    uint64_t share = 0;                  ///< of the cluster's max
    bool registered = false;             ///< it has demand, if only of nothing
    bool frozen = false;
  };

  std::vector<Case> gather(const Observation& seen);
  void watch_starts(Case& subject, proto::Now now);
  void fail_start(Case& subject, const Member& member, proto::Now now);
  void take_start(Memory& memory, const Member& member, proto::Now now) const;
  void wish(Case& subject) const;
  void hold_minimum(std::vector<Case>& cases) const;
  void remember_wish(Case& subject, proto::Now now) const;
  void share_cluster(std::vector<Case>& cases) const;
  void grow(Case& subject, proto::Now now) const;
  void limit_growth(std::vector<Case>& cases, proto::Now now) const;
  bool others_wait(const std::vector<Case>& cases) const;
  /// False where no step down may be made now; the reason says why.
  bool may_shrink(Case& subject, bool reclaim, uint64_t highest, proto::Now now) const;
  void shrink(Case& subject, bool reclaim, proto::Now now) const;
  void let_go(Case& subject, bool reclaim, uint64_t surplus, proto::Now now) const;
  void cordon(Case& subject, bool reclaim, uint64_t surplus, proto::Now now) const;

  Policy policy_;
  int64_t born_us_;
  std::map<std::string, Memory> memories_;
};

}  // namespace flame::autoscaler

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Which futures a result belongs to. Results come in runs that need not be cut as the submits were,
// and on a new link they may overtake the repeated acknowledgement that tells our ids. Of the I/O
// thread.

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "client/cpp/src/run_state.hpp"

namespace flame::detail {

class FutureTable {
 public:
  /// A run with futures goes out; `ticket` rises.
  void sent(uint64_t ticket, std::shared_ptr<RunState> state);
  void acknowledged(uint64_t ticket, const proto::Run& run);
  void refused(uint64_t ticket, const proto::Error& error);
  void take(const proto::Results& results);
  void lose(const proto::Run& run);
  void fail_all(const proto::Error& error);

  /// The oldest run that is sent and has no answer; UINT64_MAX if there is none.
  uint64_t oldest_unacknowledged() const {
    return unacknowledged_.empty() ? UINT64_MAX : unacknowledged_.begin()->first;
  }
  bool empty() const { return unacknowledged_.empty() && waiting_.empty(); }

 private:
  struct Waiting {
    uint64_t count;  ///< tasks of the run
    uint64_t open;   ///< of these without a result
    std::shared_ptr<RunState> state;
  };
  struct Early {
    uint64_t below;  ///< it may belong to a run with a ticket below this
    proto::Results results;
  };
  /// How many of its tasks have futures here.
  uint64_t settle(const proto::Results& results);
  void settle_early();

  uint64_t next_ticket_ = 1;
  std::map<uint64_t, std::shared_ptr<RunState>> unacknowledged_;
  std::map<proto::TaskId, Waiting> waiting_;  ///< by first id
  std::deque<Early> early_;
};

}  // namespace flame::detail

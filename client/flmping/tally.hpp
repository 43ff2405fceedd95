// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// flmping's own books: every task id is ticked off when its result comes, so that a missing or
// doubled one shows. Pure.

#include <cstdint>
#include <vector>

#include "client/failures.hpp"
#include "proto/messages.hpp"

namespace flame::ping {

class Tally {
 public:
  explicit Tally(uint64_t tasks) : tasks_(tasks), seen_((tasks + 63) / 64) {}

  void add(const proto::Results& results);
  /// The broker lost these after it had acknowledged them: their ids count anew.
  void lose(const proto::Run& run);

  bool complete() const { return received_ == tasks_; }
  uint64_t tasks() const { return tasks_; }
  uint64_t received() const { return received_; }
  uint64_t succeeded() const { return received_ - failures_.count(); }
  uint64_t failed() const { return failures_.count(); }
  uint64_t duplicates() const { return duplicates_; }
  uint64_t retried() const { return retried_; }
  uint64_t lost() const { return lost_; }
  const tools::Failures& failures() const { return failures_; }

 private:
  bool seen(proto::TaskId id) const { return (seen_[(id - 1) / 64] >> ((id - 1) % 64) & 1) != 0; }
  uint64_t tick(proto::Run run);

  uint64_t tasks_;
  std::vector<uint64_t> seen_;  ///< one bit for each id from 1 on
  uint64_t received_ = 0;
  uint64_t duplicates_ = 0;
  uint64_t retried_ = 0;
  uint64_t lost_ = 0;
  tools::Failures failures_;
};

}  // namespace flame::ping

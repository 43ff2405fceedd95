// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The runs that the broker acknowledged and nobody has asked for yet. Those that touch are one: of
// a session that one client submits to nearly all do, so who never asks keeps a few.

#include <cstddef>
#include <iterator>
#include <map>
#include <utility>

#include "proto/run.hpp"

namespace flame::client {

class AcknowledgedRuns {
 public:
  using Ranges = std::map<proto::TaskId, uint64_t>;
  /// Where others submit to the session too, they do not touch. Of more the lowest are forgotten:
  /// these take 64 MiB.
  static constexpr size_t kMost = 1 << 20;

  void add(const proto::Run& run) {
    auto at = runs_.insert_or_assign(run.first, run.count).first;
    if (at != runs_.begin() && ends_at(std::prev(at), at->first)) at = join(std::prev(at));
    if (std::next(at) != runs_.end() && ends_at(at, std::next(at)->first)) join(at);
    if (runs_.size() > kMost) runs_.erase(runs_.begin());
  }

  /// First id -> count, in ascending order.
  Ranges take() { return std::exchange(runs_, {}); }
  size_t size() const { return runs_.size(); }

 private:
  static bool ends_at(Ranges::iterator range, proto::TaskId id) {
    return range->first + range->second == id;
  }
  /// `range` takes the next one in.
  Ranges::iterator join(Ranges::iterator range) {
    range->second += std::next(range)->second;
    runs_.erase(std::next(range));
    return range;
  }

  Ranges runs_;
};

}  // namespace flame::client

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A run: a contiguous range of task ids of one session, written `first-last`, or `n` for one. The
// unit in which tasks travel and rest.

#include <algorithm>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "proto/error.hpp"
#include "proto/ids.hpp"
#include "proto/limits.hpp"

namespace flame::proto {

struct Run {
  TaskId first = 0;
  uint64_t count = 0;

  TaskId last() const { return first + count - 1; }
  TaskId end() const { return first + count; }
  bool empty() const { return count == 0; }
  bool contains(const Run& other) const { return first <= other.first && other.end() <= end(); }
  bool contains(TaskId id) const { return first <= id && id < end(); }
  bool overlaps(const Run& other) const { return first < other.end() && other.first < end(); }
  /// The common part; count 0 where there is none.
  Run intersect(const Run& other) const {
    TaskId from = std::max(first, other.first), to = std::min(end(), other.end());
    return from < to ? Run{from, to - from} : Run{};
  }
  friend auto operator<=>(const Run&, const Run&) = default;
};

inline uint64_t segment_of(TaskId id) { return (id - 1) / kSegmentTasks; }
inline uint64_t offset_in_segment(TaskId id) { return (id - 1) % kSegmentTasks; }
/// The first id of the segment after the one of `id`.
inline TaskId segment_end(TaskId id) { return (segment_of(id) + 1) * kSegmentTasks + 1; }

std::string to_string(const Run& run);
void append_run(std::string& out, const Run& run);
/// Accepts `n` and `first-last` with 1 <= first <= last.
Result<Run> parse_run(std::string_view text);

}  // namespace flame::proto

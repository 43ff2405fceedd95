// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Entries of `done` on their way from the I/O thread to the one that reads a ResultStream. Bounded
// by the delivery window: an entry is acknowledged to the broker when its last task was read.

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>

#include "flame/session.hpp"
#include "proto/elements.hpp"
#include "proto/messages.hpp"

namespace flame::detail {

class ResultQueue {
 public:
  using Deadline = std::optional<std::chrono::steady_clock::time_point>;

  /// `consumed` is called, by the reading thread, with the index behind each entry that was read.
  ResultQueue(Cursor from, bool follow, std::function<void(uint64_t)> consumed)
      : cursor_(std::move(from)), follow_(follow), consumed_(std::move(consumed)) {}

  // By the I/O thread.

  void push(proto::Results&& results);
  /// The session has `done_end` entries, and will not have more if `closed`.
  void set_end(uint64_t done_end, bool closed);
  void set_lineage(const std::string& lineage);
  void skip_to(uint64_t from, uint64_t to);
  /// Thrown after what is queued was read.
  void fail(const proto::Error& error);

  // By the reader.

  std::optional<TaskResult> next(const Deadline& deadline);
  /// A whole entry; nothing at the end. Not to be mixed with next() inside an entry.
  std::optional<proto::Results> next_entry(const Deadline& deadline);
  Cursor cursor() const;

 private:
  using Lock = std::unique_lock<std::mutex>;
  bool at_end() const;
  std::optional<proto::Results> pop(Lock& lock, const Deadline& deadline);
  void finish_entry(uint64_t index);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Cursor cursor_;  ///< behind the last entry that was read as a whole
  bool follow_;
  std::function<void(uint64_t)> consumed_;
  std::deque<proto::Results> entries_;
  std::optional<uint64_t> end_;  ///< entries known to exist
  bool closed_ = false;
  std::optional<proto::Error> failure_;

  // Of the reader alone.
  std::optional<proto::Results> current_;
  proto::ElementReader reader_{""};
  uint64_t at_ = 0;  ///< tasks of current_ that were returned
};

}  // namespace flame::detail

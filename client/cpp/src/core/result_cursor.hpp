// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Where a watcher stands in a session's list of done runs: which entry comes next, what has been
// used, and when to tell the broker, which keeps at most a window of unacknowledged bytes on its
// way to us.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>

#include "client/cpp/src/core/events.hpp"
#include "proto/time.hpp"

namespace flame::client {

/// An acknowledgement at the latest after this much...
inline constexpr uint64_t kAckBytes = proto::MiB;
/// ... or this long after the first unacknowledged entry was used.
inline constexpr int64_t kAckDelayUs = 20'000;
static_assert(kAckBytes <= proto::kDeliverBytesMax / 4);

class ResultCursor {
 public:
  bool watching() const { return watching_; }
  uint64_t next() const { return next_; }
  const std::string& reader() const { return reader_; }
  const std::string& lineage() const { return lineage_; }

  void start(const WatchFrom& from, const std::string& lineage_now) {
    watching_ = true;
    reader_ = from.reader;
    lineage_ = from.lineage.empty() ? lineage_now : from.lineage;
    move(from.index);
  }
  void stop() { watching_ = false; }
  /// The store lost entries: what is at or above `done_end` is counted anew.
  void rebase(const std::string& lineage, uint64_t done_end) {
    lineage_ = lineage;
    if (next_ > done_end) move(done_end);
  }
  void move(uint64_t index) {
    next_ = acknowledged_ = consumed_ = index;
    sizes_.clear();
    unacknowledged_bytes_ = 0;
    ack_at_us_ = kNever;
  }

  enum class Verdict : uint8_t { kAccept, kDuplicate, kGap };
  Verdict receive(const proto::Results& results) {
    if (!watching_ || results.index < next_) return Verdict::kDuplicate;
    if (results.index > next_) return Verdict::kGap;
    next_++;
    sizes_.push_back(results.payload.size() + kEntryBytes);
    return Verdict::kAccept;
  }

  void consume(uint64_t index, proto::Now now) {
    while (consumed_ < std::min(index, next_)) {
      unacknowledged_bytes_ += sizes_.front();
      sizes_.pop_front();
      consumed_++;
    }
    if (consumed_ == acknowledged_) return;
    if (unacknowledged_bytes_ >= kAckBytes) {
      ack_at_us_ = now.mono_us;
    } else if (ack_at_us_ == kNever) {
      ack_at_us_ = now.mono_us + kAckDelayUs;
    }
  }

  int64_t deadline() const { return watching_ ? ack_at_us_ : kNever; }
  bool ack_due(proto::Now now) const { return now.mono_us >= deadline(); }
  bool anything_to_ack() const { return watching_ && consumed_ > acknowledged_; }
  /// The index to acknowledge; it counts as sent.
  uint64_t take_ack() {
    acknowledged_ = consumed_;
    unacknowledged_bytes_ = 0;
    ack_at_us_ = kNever;
    return acknowledged_;
  }

 private:
  // What an entry weighs beside its outputs, so that empty ones are acknowledged too.
  static constexpr uint64_t kEntryBytes = 128;

  bool watching_ = false;
  uint64_t next_ = 0;
  uint64_t consumed_ = 0;
  uint64_t acknowledged_ = 0;
  uint64_t unacknowledged_bytes_ = 0;
  int64_t ack_at_us_ = kNever;
  std::deque<uint64_t> sizes_;  ///< of the entries [consumed_, next_)
  std::string reader_;
  std::string lineage_;
};

}  // namespace flame::client

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Before WAITAOF (Redis 7.2) nobody says when a write is on disk. Under `everysec` it can be
// concluded: no fsync was under way at two moments at least 1.2 s apart, none was delayed between
// them and no write to the file had failed, so one has begun and ended that covers what was
// answered before the first. While writes fail (a full disk) Redis keeps what it answered in its
// own memory and does no fsync at all. Pure.

#include <cstdint>
#include <deque>

namespace flame::broker {

/// What INFO persistence says of the append-only file.
struct AofLook {
  bool failed = false;   ///< the last write or fsync
  bool pending = false;  ///< an fsync is under way
  uint64_t delayed = 0;  ///< writes that could not wait for an fsync, ever
  friend bool operator==(const AofLook&, const AofLook&) = default;
};

class FsyncWatch {
 public:
  static constexpr int64_t kApartUs = 1'200'000;

  /// A new connection: perhaps another Redis.
  void reset() { looks_.clear(); }

  /// An INFO reply. `mark` is what had been answered before it was asked (it rises), `asked_us` and
  /// `answered_us` when. Returns the highest mark now known to be on disk, or 0.
  uint64_t on_look(int64_t asked_us, int64_t answered_us, uint64_t mark, const AofLook& seen) {
    if (seen.failed) looks_.clear();
    if (seen.failed || seen.pending) return 0;
    if (!looks_.empty() && looks_.front().delayed != seen.delayed) looks_.clear();
    uint64_t on_disk = 0;
    // Measured from the first answer to the second question: never longer than it was in Redis.
    while (!looks_.empty() && asked_us - looks_.front().answered_us >= kApartUs) {
      on_disk = looks_.front().mark;
      looks_.pop_front();
    }
    looks_.push_back({answered_us, mark, seen.delayed});
    return on_disk;
  }

 private:
  struct Look {
    int64_t answered_us;
    uint64_t mark;
    uint64_t delayed;
  };
  std::deque<Look> looks_;
};

}  // namespace flame::broker

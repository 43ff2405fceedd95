// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The mapped file under a Ring: locked by its owner, mode 0600, its memory taken in steps as the
// ring moves into them and given back when it has moved on. Touching a mapped page that the
// filesystem cannot provide would kill the process, so room is asked for before it is written to.

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "broker/store/ring.hpp"
#include "proto/error.hpp"
#include "proto/time.hpp"

namespace flame::broker {

class RingFile {
 public:
  static constexpr size_t kStepBytes = 8 << 20;  ///< asked for, and given back, at once
  /// A busy ring comes round to its steps again before that: it never pays for new pages. One that
  /// needs longer pays for --ring-size in this time at most, under a hundredth of a core.
  static constexpr int64_t kKeepUs = 10 * proto::kUsPerSecond;
  static constexpr size_t kStepsPerCall = 2;

  /// Where the ring of this cluster and data folder lies in `folder`.
  static std::string path_of(const std::string& folder, const std::string& cluster,
                             const std::string& data_folder);
  /// Opens or creates it. An existing one keeps its size: even an empty one says what is on disk.
  static proto::Result<std::unique_ptr<RingFile>> open(const std::string& path, size_t bytes);
  ~RingFile();
  RingFile(const RingFile&) = delete;
  RingFile& operator=(const RingFile&) = delete;

  Ring& ring() { return *ring_; }
  const std::string& path() const { return path_; }
  /// Room for a record, or null: full, or the filesystem is.
  char* reserve(size_t bytes_max);
  /// Gives back the memory of steps that held nothing for kKeepUs. Call it about once a second; one
  /// call returns at most kStepsPerCall, about a millisecond each.
  void give_back(int64_t now_us);
  /// After a clean stop: nothing in it is needed any more.
  void remove();

 private:
  RingFile(std::string path, int fd, std::span<char> memory);
  struct Step {
    bool promised = false;        ///< the filesystem has reserved all of it
    bool filled = false;          ///< it may have pages, of ours or of an earlier process
    int64_t unused_since_us = 0;  ///< 0: in use when last looked at
  };

  bool take(Ring::Range range);
  Ring::Range bytes_of(size_t step) const;
  bool punch(size_t step);

  std::string path_;
  int fd_;
  std::span<char> memory_;
  std::unique_ptr<Ring> ring_;
  std::vector<Step> steps_;
  bool said_full_ = false;
  bool can_punch_ = true;  ///< not every filesystem takes pages back
};

}  // namespace flame::broker

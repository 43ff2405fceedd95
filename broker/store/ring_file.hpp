// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The mapped file under a Ring: locked by its owner, mode 0600, its memory taken as the ring grows
// and given back when it is empty. Touching a mapped page that the filesystem cannot provide would
// kill the process, so room is asked for before it is written to.

#include <memory>
#include <span>
#include <string>

#include "broker/store/ring.hpp"
#include "proto/error.hpp"

namespace flame::broker {

class RingFile {
 public:
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
  /// Gives unused memory back. Worth a call a second, when the ring is empty.
  void give_back();
  /// After a clean stop: nothing in it is needed any more.
  void remove();

 private:
  RingFile(std::string path, int fd, std::span<char> memory);
  bool take(size_t end);

  std::string path_;
  int fd_;
  std::span<char> memory_;
  std::unique_ptr<Ring> ring_;
  size_t taken_ = 0;  ///< bytes from the front that the filesystem has promised
  bool said_full_ = false;
};

}  // namespace flame::broker

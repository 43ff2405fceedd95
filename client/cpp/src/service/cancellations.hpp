// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The pipe behind FLAME_CANCEL_FD (shims/native_protocol.hpp).

#include <cstdint>
#include <utility>
#include <vector>

namespace flame::service {

class Cancellations {
 public:
  /// -1: an executor that does not say; then nothing is ever cancelled.
  explicit Cancellations(int fd) : fd_(fd) {}

  /// One system call, unless it is known already.
  bool contains(uint64_t task);
  /// A session begins: what came before belongs to another one.
  void forget();

 private:
  void read_some();

  int fd_;
  std::vector<std::pair<uint64_t, uint64_t>> runs_;  ///< first id, count
};

}  // namespace flame::service

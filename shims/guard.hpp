// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A small process beside the executor that outlives it by a moment: it knows the process groups
// that run, and kills them when the executor is gone. The kernel's parent-death signal reaches a
// service, not what the service started itself.

#include <sys/types.h>

#include "shims/descriptor.hpp"

namespace flame::shims {

class Guard {
 public:
  /// Forks: to be made before any thread is started. Without the process (no memory) nothing is
  /// guarded.
  Guard();
  ~Guard();
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

  void add(pid_t group) { tell(group); }
  void remove(pid_t group) { tell(-group); }

 private:
  void tell(pid_t word);

  pid_t pid_ = -1;
  Descriptor pipe_;
};

}  // namespace flame::shims

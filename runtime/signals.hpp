// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

#include <functional>
#include <vector>

#include "runtime/event_loop.hpp"

namespace flame::runtime {

/// Turns signals into calls from the loop. Constructed before any thread (libzmq's too) is started,
/// so that every thread has them blocked. SIGPIPE is ignored in the whole process.
class Signals {
 public:
  Signals(EventLoop& loop, const std::vector<int>& signals, std::function<void(int)> handler);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

 private:
  EventLoop& loop_;
  int fd_;
};

}  // namespace flame::runtime

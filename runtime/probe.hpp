// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// One question to a process nearby: connects, writes, reads until the other side closes. Enough for
// Redis (inline commands that end with QUIT), for HTTP/1.0 and for control.sock, and it never
// blocks its loop.

#include <cstdint>
#include <functional>
#include <string>

#include "runtime/event_loop.hpp"

namespace flame::runtime {

class Probe {
 public:
  /// kHangUp closes our side after the question: for those who answer and then wait for more.
  enum class Then : uint8_t { kListen, kHangUp };

  /// `address`: a path (unix socket) or "host:port" with a numeric host. `done` gets the whole
  /// answer, or "" if there was none within `patience_us`; it is called once, from the loop, and
  /// may destroy this object.
  Probe(EventLoop& loop, const std::string& address, std::string request, int64_t patience_us,
        std::function<void(std::string)> done, Then then = Then::kListen);
  ~Probe();
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

 private:
  bool connect_to(const std::string& address);
  void on_ready(EventLoop::Ready ready);
  void finish();
  void release();

  EventLoop& loop_;
  std::string request_, answer_;
  std::function<void(std::string)> done_;
  Then then_;
  int fd_ = -1;
  EventLoop::TimerId timer_;
};

}  // namespace flame::runtime

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// One question to a process nearby: connects, writes, reads until the other side closes. Enough for
// Redis (inline commands that end with QUIT) and for HTTP/1.0, and it never blocks the supervisor.

#include <cstdint>
#include <functional>
#include <string>

#include "runtime/event_loop.hpp"

namespace flame::flmctl {

class Probe {
 public:
  /// `address`: a path (unix socket) or "host:port" with a numeric host. `done` gets the whole
  /// answer, or "" if there was none within `patience_us`; it is called once, from the loop, and
  /// may destroy this object.
  Probe(runtime::EventLoop& loop, const std::string& address, std::string request,
        int64_t patience_us, std::function<void(std::string)> done);
  ~Probe();
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

 private:
  bool connect_to(const std::string& address);
  void on_ready(runtime::EventLoop::Ready ready);
  void finish();
  void release();

  runtime::EventLoop& loop_;
  std::string request_, answer_;
  std::function<void(std::string)> done_;
  int fd_ = -1;
  runtime::EventLoop::TimerId timer_;
};

std::string http_get(const std::string& path);
/// Status 200.
bool http_ok(const std::string& answer);
/// Of an answer with status 200; "" for any other.
std::string http_body(const std::string& answer);
/// Of an answer with any status, without the last line end.
std::string http_text(const std::string& answer);
/// http://host:port -> host:port
std::string address_of(const std::string& url);

}  // namespace flame::flmctl

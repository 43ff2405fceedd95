// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Reads what a child writes to stdout and stderr so that it never waits for us, and keeps only the
// end of it.

#include <cstddef>
#include <string>

#include "runtime/event_loop.hpp"
#include "shims/descriptor.hpp"
#include "shims/output_log.hpp"

namespace flame::shims {

class OutputTail {
 public:
  /// Everything also goes into `log`, which outlives it.
  OutputTail(runtime::EventLoop& loop, OutputLog& log) : loop_(loop), log_(log) {}
  ~OutputTail() { close(); }
  OutputTail(const OutputTail&) = delete;
  OutputTail& operator=(const OutputTail&) = delete;

  /// Takes the reading end over; what was kept of an earlier one is forgotten.
  void watch(Descriptor pipe);
  /// Reads what is there now, without waiting for the end: a process that forked away may hold it
  /// open.
  void close();
  /// Reads what is there now.
  void read();

  bool empty() const { return tail_.empty(); }
  /// `how`, and the last kStderrTailBytes after it if there are any.
  std::string explain(const std::string& how) const;

 private:
  /// True while there is more.
  bool read_some();

  runtime::EventLoop& loop_;
  OutputLog& log_;
  Descriptor pipe_;
  std::string tail_;
};

/// What a pipe of Linux holds: no read gets more at once.
inline constexpr size_t kPipeBytes = 64 * 1024;

struct Pipe {
  Descriptor read, write;
};
/// Both ends close-on-exec; ours is made non-blocking by the caller, the child's must not be.
bool open_pipe(Pipe& pipe);
void set_nonblocking(int fd);

}  // namespace flame::shims

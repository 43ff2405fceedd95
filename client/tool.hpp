// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What flmctl, flmping and flmexec share: how they find and reach the broker, and how they fail.

#include <memory>
#include <string>

#include "client/cpp/src/connection.hpp"
#include "client/exit_codes.hpp"
#include "proto/error.hpp"

namespace flame::tools {

/// A connection to `endpoint`, or to the default one if that is "", of `cluster`, or of any.
/// no_broker at once where nobody listens, else after `timeout_ms`. As long as it lives, whatever
/// holds it up for more than a second is said on stderr as `tool: waiting: why`, each reason once.
proto::Result<std::unique_ptr<client::Connection>> connect_to_broker(std::string_view tool,
                                                                     std::string endpoint,
                                                                     std::string cluster,
                                                                     uint64_t timeout_ms = 5'000);

/// Prints `tool: message` to stderr and returns the exit code that belongs to the error.
int fail(std::string_view tool, const proto::Error& error);
/// The same for a wrong command line: exit code 2 and where to find help.
int fail_usage(std::string_view tool, const proto::Error& error);

/// The last call of every tool: what was printed is written out. Where that failed (a full disk, a
/// closed descriptor), says so, and a success is none.
int finish(std::string_view tool, int code);
/// True once a write to stdout has failed: what follows would only pretend.
bool output_failed();

/// Waits in the main thread for what ends a tool: SIGINT, SIGTERM, or another thread's word.
/// Constructed before any thread, so that all of them hold the signals back.
class Waiter {
 public:
  Waiter();
  ~Waiter();
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  /// The signal that came, or 0 after `timeout_ms` or a notify().
  int wait(uint64_t timeout_ms);
  /// Any thread.
  void notify();
  /// From here on a signal ends the process.
  void release();

 private:
  int signal_fd_;
  int event_fd_;
};

}  // namespace flame::tools

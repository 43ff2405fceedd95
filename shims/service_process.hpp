// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A long-lived service as its shim sees it: the process, the end of what it wrote, and the words
// for its end. What is spoken with it is the shim's.

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/error.hpp"
#include "runtime/event_loop.hpp"
#include "shims/child_process.hpp"
#include "shims/output_tail.hpp"
#include "shims/shim.hpp"

namespace flame::shims {

class ServiceProcess {
 public:
  /// What it writes also goes into `log`, which outlives it.
  ServiceProcess(runtime::EventLoop& loop, OutputLog& log);
  ~ServiceProcess();
  ServiceProcess(const ServiceProcess&) = delete;
  ServiceProcess& operator=(const ServiceProcess&) = delete;

  /// `descriptors` come beside stdout and stderr. `on_exit` is called once from the loop: the shim
  /// reads what is left, then asks for explain_exit().
  proto::Status start(const Launch& launch, std::vector<std::pair<int, int>> descriptors,
                      std::function<void()> on_exit);

  /// To the whole group.
  void terminate();
  void kill();
  /// SIGKILL, and `fault` ("broke the protocol: ...") is the reason instead of how it ended.
  void kill_for(std::string fault);
  /// Its connection is closed, `why` if that is known: it may still run its exit handlers for a
  /// moment.
  void expect_exit(const std::string& why = "");
  /// What it said last is no sense: cut off by its end, which is then the reason, or by a fault of
  /// its own, for which it is killed in a moment.
  void expect_exit_or_kill_for(const std::string& fault);

  /// What it has written so far is in the log then.
  void read_output();
  /// The reason of Exited. Nothing is read of it any more.
  std::string explain_exit();

 private:
  runtime::EventLoop& loop_;
  OutputTail output_,
      errors_;  ///< two, because a buffered stdout comes after the last words on stderr
  std::unique_ptr<ChildProcess> process_;
  runtime::EventLoop::TimerId exit_timer_ = 0;
  std::string fault_, how_;
};

/// For a start that fails with errno.
proto::Error no_descriptors();

}  // namespace flame::shims

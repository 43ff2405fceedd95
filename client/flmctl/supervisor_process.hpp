// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A process that outlives this object: started here, or found running after a supervisor was
// killed. Known by a pidfd, so that a signal never meets a stranger who got the number later.

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proto/error.hpp"
#include "runtime/event_loop.hpp"

namespace flame::flmctl {

struct LaunchPlan {
  std::vector<std::string> command;  ///< [0] is a path, or a name to look for in PATH
  std::vector<std::pair<std::string, std::string>> set_environment;
  std::vector<std::string> unset_environment;
  std::string folder;    ///< working directory
  std::string log_file;  ///< stdout and stderr are appended
};

class SupervisedProcess {
 public:
  /// `record` is called with the pid before the command runs; what it returns as an error stops the
  /// start. So no moment exists in which something runs that nobody has written down.
  static proto::Result<std::unique_ptr<SupervisedProcess>> start(
      const LaunchPlan& plan, const std::function<proto::Status(pid_t)>& record);
  /// kNotFound if the process of that pid is another one than recorded, or none.
  static proto::Result<std::unique_ptr<SupervisedProcess>> adopt(pid_t pid, uint64_t start_ticks);

  ~SupervisedProcess();
  SupervisedProcess(const SupervisedProcess&) = delete;
  SupervisedProcess& operator=(const SupervisedProcess&) = delete;

  /// Calls `on_exit` once with how it ended. The handler may destroy this object.
  void watch(runtime::EventLoop& loop, std::function<void(std::string)> on_exit);
  void send_signal(int signal) const;
  pid_t pid() const { return pid_; }

 private:
  SupervisedProcess(pid_t pid, int pidfd) : pid_(pid), pidfd_(pidfd) {}
  std::string reap() const;

  pid_t pid_;
  int pidfd_;
  runtime::EventLoop* loop_ = nullptr;
};

/// Clock ticks from boot to the start of `pid`; 0 if there is none (or only its zombie). With the
/// boot id it names one process for ever.
uint64_t start_ticks_of(pid_t pid);
std::string boot_id();
/// "exited with code 3", "was killed by signal 9 (SIGKILL)".
std::string describe_exit(int code, int status);

}  // namespace flame::flmctl

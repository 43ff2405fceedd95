// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A child in a process group of its own that cannot outlive us: it gets SIGKILL when the executor
// dies, and its group gets SIGKILL when this object goes or the child itself has ended.

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proto/error.hpp"
#include "runtime/event_loop.hpp"
#include "shims/descriptor.hpp"
#include "shims/shim.hpp"

namespace flame::shims {

class ChildProcess {
 public:
  /// `descriptors`: ours -> the child's number. Everything else is closed in the child. `on_exit`
  /// is called once from the loop when the child has ended, with words like "exit code 3" or
  /// "killed by signal 11 (SEGV)". `failed` there is false for exit code 0.
  using OnExit = std::function<void(bool failed, const std::string& how)>;
  static proto::Result<std::unique_ptr<ChildProcess>> spawn(
      const Launch& launch, const std::vector<std::pair<int, int>>& descriptors,
      runtime::EventLoop& loop, OnExit on_exit);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// To the whole group.
  void signal(int number);
  pid_t pid() const { return pid_; }

 private:
  ChildProcess(pid_t pid, Descriptor pidfd, Guard* guard, runtime::EventLoop& loop, OnExit on_exit);
  void reap();
  void ended();

  pid_t pid_;
  Descriptor pidfd_;
  Guard* guard_;
  runtime::EventLoop& loop_;
  OnExit on_exit_;
  bool ended_ = false;
};

}  // namespace flame::shims

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A process for each task: input on stdin, output on stdout, no shell in between. An exit code
// other than 0 fails the task; nothing of that is a crash of the service.

#include <deque>
#include <memory>
#include <string>

#include "proto/elements.hpp"
#include "shims/child_process.hpp"
#include "shims/output_tail.hpp"
#include "shims/shim.hpp"

namespace flame::shims {

class ShellShim final : public Shim {
 public:
  ShellShim(Launch launch, InstanceId instance, runtime::EventLoop& loop, Events& events);
  ~ShellShim() override;

  void enter(const EnterSession& session) override;
  void invoke(const std::vector<Frame>& frames) override;
  void cancel(const proto::Run& run) override;
  void leave() override;
  void terminate() override;
  void kill() override;

 private:
  void start_next();
  void start_task(proto::TaskId task, proto::Attempt attempt, const proto::Bytes& input);
  void write_input();
  bool read_output();
  void close_input();
  void close_output();
  void on_exit(bool failed, const std::string& how);
  void finish(std::vector<Failure> failures);
  void gone(const std::string& reason);

  Launch launch_;
  InstanceId instance_;
  runtime::EventLoop& loop_;
  Events& events_;
  std::string session_;
  std::deque<Frame> frames_;

  proto::TaskId task_ = 0;  ///< 0: none runs
  Descriptor stdin_, stdout_;
  OutputTail stderr_;
  std::unique_ptr<ChildProcess> process_;
  proto::Bytes input_;
  size_t written_ = 0;
  std::string output_;
  bool too_large_ = false, gone_ = false;
  std::string ended_by_us_;
};

}  // namespace flame::shims

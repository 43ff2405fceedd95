// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "shims/service_process.hpp"

#include <signal.h>

#include <cerrno>
#include <cstring>

namespace flame::shims {

namespace {
/// Between closing its connection and its end a process may still run its exit handlers.
constexpr int64_t kExitGraceUs = 2'000'000;
}  // namespace

proto::Error no_descriptors() {
  return {proto::Code::kTaskServiceFailed,
          std::string("no descriptors for a service: ") + std::strerror(errno)};
}

ServiceProcess::ServiceProcess(runtime::EventLoop& loop, OutputLog& log)
    : loop_(loop), output_(loop, log), errors_(loop, log) {}

ServiceProcess::~ServiceProcess() {
  if (exit_timer_ != 0) loop_.cancel(exit_timer_);
}

proto::Status ServiceProcess::start(const Launch& launch,
                                    std::vector<std::pair<int, int>> descriptors,
                                    std::function<void()> on_exit) {
  Pipe output, errors;
  if (!open_pipe(output) || !open_pipe(errors)) return no_descriptors();
  descriptors.emplace_back(output.write.get(), 1);
  descriptors.emplace_back(errors.write.get(), 2);
  auto process = ChildProcess::spawn(
      launch, descriptors, loop_,
      [this, told = std::move(on_exit)](bool, const std::string& how) { how_ = how, told(); });
  if (!process) return process.error();
  process_ = std::move(*process);
  output_.watch(std::move(output.read));
  errors_.watch(std::move(errors.read));
  return {};
}

void ServiceProcess::terminate() { process_->signal(SIGTERM); }
void ServiceProcess::kill() { process_->signal(SIGKILL); }

void ServiceProcess::kill_for(std::string fault) {
  fault_ = std::move(fault);
  if (process_) process_->signal(SIGKILL);
}

void ServiceProcess::expect_exit(const std::string& why) {
  expect_exit_or_kill_for("closed its connection and went on running" +
                          (why.empty() ? "" : "; " + why));
}

void ServiceProcess::expect_exit_or_kill_for(const std::string& fault) {
  if (exit_timer_ != 0) return;
  exit_timer_ = loop_.call_at(loop_.now().mono_us + kExitGraceUs, [this, fault] {
    exit_timer_ = 0;
    kill_for(fault);
  });
}

void ServiceProcess::read_output() {
  output_.read();
  errors_.read();
}

std::string ServiceProcess::explain_exit() {
  output_.close();
  errors_.close();
  if (exit_timer_ != 0) loop_.cancel(exit_timer_);
  exit_timer_ = 0;
  std::string reason = fault_.empty() ? "the service ended: " + how_ : "the service " + fault_;
  return (errors_.empty() ? output_ : errors_).explain(reason);
}

}  // namespace flame::shims

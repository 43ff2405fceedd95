// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/tool.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "client/cpp/src/endpoint.hpp"
#include "client/terminal.hpp"
#include "proto/text.hpp"
#include "runtime/assert.hpp"

namespace flame::tools {

namespace {

constexpr size_t kReasonMax = 1'000;  // what to do about it stands at the end

// On the I/O thread, while the main thread may be drawing a progress bar: a line of its own.
void say_waiting(const std::string& tool, const proto::Error& reason) {
  const char* line_begin = inspect_terminal(STDERR_FILENO).is_terminal ? "\r\x1b[K" : "";
  std::fprintf(stderr, "%s%s: waiting: %s\n", line_begin, tool.c_str(),
               proto::printable(reason.message, kReasonMax).c_str());
}

}  // namespace

proto::Result<std::unique_ptr<client::Connection>> connect_to_broker(std::string_view tool,
                                                                     std::string endpoint,
                                                                     std::string cluster,
                                                                     uint64_t timeout_ms) {
  auto broker = client::find_broker({std::move(endpoint), std::move(cluster)});
  if (!broker) return broker.error();
  if (client::refuses_connections(broker->endpoint)) {
    return proto::Error{proto::Code::kNoBroker,
                        "No broker at " + broker->endpoint + ". Start one: flmctl up"};
  }
  auto connection = std::make_unique<client::Connection>(broker->endpoint, broker->cluster);
  connection->on_waiting([name = std::string(tool)](const auto& why) { say_waiting(name, why); });
  if (auto up = connection->wait_until_up(timeout_ms); !up) return up.error();
  return connection;
}

bool output_failed() { return std::ferror(stdout) != 0; }

int finish(std::string_view tool, int code) {
  errno = 0;
  if (std::fflush(stdout) == 0 && !output_failed()) return code;
  std::string why = errno == 0 ? "" : std::string(": ") + std::strerror(errno);
  std::fprintf(stderr, "%.*s: the output could not be written completely%s\n",
               static_cast<int>(tool.size()), tool.data(), why.c_str());
  return code == kExitOk ? kExitFailed : code;
}

int fail(std::string_view tool, const proto::Error& error) {
  std::fprintf(stderr, "%.*s: %s\n", static_cast<int>(tool.size()), tool.data(),
               error.message.c_str());
  return exit_code_of(error.code);
}

int fail_usage(std::string_view tool, const proto::Error& error) {
  std::fprintf(stderr, "%.*s: %s\nTry: %.*s --help\n", static_cast<int>(tool.size()), tool.data(),
               error.message.c_str(), static_cast<int>(tool.size()), tool.data());
  return kExitUsage;
}

Waiter::Waiter() {
  signal(SIGPIPE, SIG_IGN);
  sigset_t held;
  sigemptyset(&held);
  sigaddset(&held, SIGINT);
  sigaddset(&held, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &held, nullptr);
  signal_fd_ = signalfd(-1, &held, SFD_NONBLOCK | SFD_CLOEXEC);
  event_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  FLAME_ASSERT(signal_fd_ >= 0 && event_fd_ >= 0);
}

Waiter::~Waiter() {
  close(signal_fd_);
  close(event_fd_);
}

int Waiter::wait(uint64_t timeout_ms) {
  std::array<pollfd, 2> fds = {pollfd{signal_fd_, POLLIN, 0}, pollfd{event_fd_, POLLIN, 0}};
  poll(fds.data(), fds.size(), static_cast<int>(timeout_ms));
  uint64_t count;
  [[maybe_unused]] auto ignored = read(event_fd_, &count, sizeof count);
  signalfd_siginfo info;
  return read(signal_fd_, &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

void Waiter::release() {
  // A shell starts what it puts into the background with SIGINT ignored.
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  sigset_t held;
  sigemptyset(&held);
  sigaddset(&held, SIGINT);
  sigaddset(&held, SIGTERM);
  pthread_sigmask(SIG_UNBLOCK, &held, nullptr);
}

void Waiter::notify() {
  uint64_t one = 1;
  [[maybe_unused]] auto ignored = write(event_fd_, &one, sizeof one);
}

}  // namespace flame::tools

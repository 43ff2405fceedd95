// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "runtime/signals.hpp"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "runtime/assert.hpp"

namespace flame::runtime {

Signals::Signals(EventLoop& loop, const std::vector<int>& signals, std::function<void(int)> handler)
    : loop_(loop) {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  for (int signal : signals) sigaddset(&set, signal);
  int failed = pthread_sigmask(SIG_BLOCK, &set, nullptr);
  FLAME_ASSERT(failed == 0);
  fd_ = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  FLAME_ASSERT(fd_ >= 0);
  loop_.add_fd(fd_, true, false, [this, handler = std::move(handler)](EventLoop::Ready) {
    signalfd_siginfo info;
    while (read(fd_, &info, sizeof info) == sizeof info) handler(static_cast<int>(info.ssi_signo));
  });
}

Signals::~Signals() {
  loop_.remove_fd(fd_);
  close(fd_);
}

}  // namespace flame::runtime

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "shims/guard.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

namespace flame::shims {

namespace {

[[noreturn]] void watch(int pipe) {
  setsid();  // a Ctrl-C is for the executor, which then tells us by leaving
  for (int number : {SIGTERM, SIGINT, SIGHUP}) signal(number, SIG_IGN);
  prctl(PR_SET_NAME, "flame-guard");
  // Nobody must wait for our copies of his descriptors.
  dup2(pipe, 0);
  syscall(SYS_close_range, 1u, ~0u, 0u);
  std::vector<pid_t> groups;
  for (;;) {
    pid_t word = 0;
    ssize_t got = read(0, &word, sizeof word);
    if (got < 0 && errno == EINTR) continue;
    if (got != sizeof word) break;
    if (word > 0) groups.push_back(word);
    if (word < 0) groups.erase(std::remove(groups.begin(), groups.end(), -word), groups.end());
  }
  for (pid_t group : groups) kill(-group, SIGKILL);
  _exit(0);
}

}  // namespace

Guard::Guard() {
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return;
  Descriptor reading(ends[0]);
  pipe_ = Descriptor(ends[1]);
  fcntl(ends[1], F_SETFL, O_NONBLOCK);
  pid_ = fork();
  if (pid_ == 0) {
    pipe_.reset();
    watch(reading.get());
  }
  if (pid_ < 0) pipe_.reset();
}

Guard::~Guard() {
  pipe_.reset();
  if (pid_ > 0) waitpid(pid_, nullptr, 0);
}

void Guard::tell(pid_t word) {
  // Words this short are never split. The pipe holds 16,000 of them, so a guard that stands still
  // costs nothing but its service.
  if (pipe_) (void)!write(pipe_.get(), &word, sizeof word);
}

}  // namespace flame::shims

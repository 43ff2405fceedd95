// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A real flame-executor with a folder of its own, ended with the object.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/unit/executor/fake_broker.hpp"

extern char** environ;

namespace flame::executor::test {

inline void FakeBroker::wait() {
  pollfd descriptor{socket_.fd(), POLLIN, 0};
  if (!socket_.readable()) poll(&descriptor, 1, 20);
}

class ExecutorProcess {
 public:
  ExecutorProcess(const std::string& endpoint, std::vector<std::string> more) {
    char folder[] = "/tmp/flame-executor-test-XXXXXX";
    folder_ = mkdtemp(folder);
    std::vector<std::string> words = {FLAME_EXECUTOR_PATH, "--broker", endpoint,    "--work-dir",
                                      folder_ + "/work",   "--id",     "executor-1"};
    words.insert(words.end(), more.begin(), more.end());
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    std::string log = folder_ + "/log";
    posix_spawn_file_actions_addopen(&actions, 2, log.c_str(), O_WRONLY | O_CREAT, 0600);
    posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~ExecutorProcess() {
    if (pid_ > 0) signal(SIGKILL), wait();
    std::filesystem::remove_all(folder_);
  }
  ExecutorProcess(const ExecutorProcess&) = delete;
  ExecutorProcess& operator=(const ExecutorProcess&) = delete;

  void signal(int number) { ::kill(pid_, number); }
  pid_t pid() const { return pid_; }
  const std::string& folder() const { return folder_; }
  /// Exit code, or -signal.
  int wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  bool ended() {
    siginfo_t info{};
    return waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid != 0;
  }
  std::string log() const {
    std::ostringstream text;
    text << std::ifstream(folder_ + "/log").rdbuf();
    return text.str();
  }
  /// CPU of the process and, of its children, what they used so far, in us.
  int64_t cpu_us() const {
    int64_t total = cpu_of(pid_);
    for (pid_t child : children()) total += cpu_of(child);
    return total;
  }
  std::vector<pid_t> children() const {
    std::string pid = std::to_string(pid_);
    std::ifstream file("/proc/" + pid + "/task/" + pid + "/children");
    std::vector<pid_t> all;
    for (pid_t child; file >> child;) all.push_back(child);
    return all;
  }

 private:
  static int64_t cpu_of(pid_t pid) {
    clockid_t clock;
    timespec time{};
    if (clock_getcpuclockid(pid, &clock) == 0) clock_gettime(clock, &time);
    return time.tv_sec * 1'000'000 + time.tv_nsec / 1000;
  }

  pid_t pid_ = -1;
  std::string folder_;
};

}  // namespace flame::executor::test

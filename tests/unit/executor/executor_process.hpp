// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A real flame-executor with a folder of its own, ended with the object.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
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

 private:
  pid_t pid_ = -1;
  std::string folder_;
};

}  // namespace flame::executor::test

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// The service of the kill tests. An input is "<submit>.<place>.<ms>"; it sleeps so long, notes that
// it ran the task in the file that the common data names, and returns the input with "=ok" behind
// it.

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "flame/service.hpp"

namespace {

// Written with one append: neither another process nor a SIGKILL can tear it. kill.py reads "<QII".
struct Note {
  uint64_t task;
  uint32_t attempt;
  uint32_t pid;
};
static_assert(sizeof(Note) == 16);

class KillService : public flame::Service {
  void on_session_enter(const flame::SessionContext& session) override {
    if (fd_ >= 0) close(fd_);
    fd_ = open(std::string(session.common_data).c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC,
               0600);
    if (fd_ < 0)
      throw std::runtime_error("the common data is no file: " + std::string(session.common_data));
  }

  flame::TaskOutput on_task_invoke(const flame::TaskContext& task) override {
    auto digits = task.input.substr(task.input.rfind('.') + 1);
    int ms = 0;
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), ms);
    if (error != std::errc{}) return flame::TaskOutput::error("not an input of the kill tests");
    if (ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    Note note{task.task, task.attempt, static_cast<uint32_t>(getpid())};
    if (write(fd_, &note, sizeof note) != sizeof note)
      throw std::runtime_error("cannot note a task");
    return std::string(task.input) + "=ok";
  }

  int fd_ = -1;
};

}  // namespace

int main() {
  KillService service;
  return flame::run(service);
}

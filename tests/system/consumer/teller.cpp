// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Tells what it was given; `wait` goes on until it is cancelled.

#include <cstdlib>
#include <flame/service.hpp>
#include <iostream>
#include <string>
#include <thread>

class Teller : public flame::Service {
  void on_session_enter(const flame::SessionContext& session) override {
    common_ = session.common_data;
  }

  flame::TaskOutput on_task_invoke(const flame::TaskContext& task) override {
    std::cout << "told " << task.input << std::endl;
    task.progress(50, "half of it");
    while (task.input == "wait" && !task.cancelled()) std::this_thread::yield();
    const char* who = std::getenv("WHO");
    return common_ + " by " + (who == nullptr ? "nobody" : who);
  }

  std::string common_;
};

int main() {
  Teller service;
  return flame::run(service);
}

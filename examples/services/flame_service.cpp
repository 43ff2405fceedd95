// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// The native services that come with Flame, in one program: `flame-service echo` returns its input,
// `flame-service flmping` is what flmping measures.

#include <cstdio>
#include <string>

#include "examples/services/ping.hpp"
#include "flame/service.hpp"

namespace {

class Echo : public flame::Service {
  flame::TaskOutput on_task_invoke(const flame::TaskContext& task) override { return task.input; }
};

class Ping : public flame::Service {
  void on_session_enter(const flame::SessionContext& session) override {
    pong_.enter(session.common_data);
  }
  flame::TaskOutput on_task_invoke(const flame::TaskContext& task) override {
    return pong_.answer(std::to_string(task.task));
  }

  flame::services::Pong pong_;
};

}  // namespace

int main(int argc, char** argv) {
  std::string_view name = argc == 2 ? argv[1] : "";
  if (name == "echo") {
    Echo echo;
    return flame::run(echo);
  }
  if (name == "flmping") {
    Ping ping;
    return flame::run(ping);
  }
  std::fprintf(stderr, "usage: flame-service echo | flmping\n(started by flame-executor)\n");
  return 2;
}

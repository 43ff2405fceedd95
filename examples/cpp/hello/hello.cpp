// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// The smallest whole: a service that greets, and a client that asks it to. One program is both; the
// executor starts it again with the argument `service`.
//
//   flmctl up --detach
//   hello Ada Grace

#include <filesystem>
#include <iostream>
#include <string_view>

#include "flame/flame.hpp"
#include "flame/service.hpp"

namespace {

class Hello : public flame::Service {
  flame::TaskOutput on_task_invoke(const flame::TaskContext& task) override {
    return "Hello, " + std::string(task.input) + "!";
  }
};

int ask(const std::vector<std::string>& names) {
  auto client = flame::Client::connect();
  client.register_application({.name = "hello",
                               .command = std::filesystem::read_symlink("/proc/self/exe"),
                               .arguments = {"service"},
                               .description = "greets"});
  auto session = client.create_session({.application = "hello"});
  for (const auto& greeting : session.map(names)) std::cout << greeting << "\n";
  session.close();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "service") {
    Hello service;
    return flame::run(service);
  }
  try {
    return ask(argc > 1 ? std::vector<std::string>(argv + 1, argv + argc)
                        : std::vector<std::string>{"world"});
  } catch (const flame::Error& error) {
    std::cerr << "hello: " << error.what() << "\n";
    return 1;
  }
}

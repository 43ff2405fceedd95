// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// The services that come with Flame, in one program: `flame-service echo` returns its input,
// `flame-service flmping` answers as the parameters in the common data say:
//
//   output-size=64    bytes of the output, which begins with "pong <task id>"
//   duration-ms=0     how long a task takes; if not 0 the output goes on with " took
//   <microseconds>"
//                     by this program's clock: a sleeper is woken late, never early
//   memory=0          bytes that a task touches

#include <charconv>
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>

#include "flame/service.hpp"

namespace {

class Echo : public flame::Service {
  flame::TaskOutput on_task_invoke(const flame::TaskContext& task) override { return task.input; }
};

uint64_t number_of(std::string_view name, std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size()) return value;
  throw std::invalid_argument("flmping: " + std::string(name) +
                              " in the common data must be a number, not `" + std::string(text) +
                              "`");
}

class Ping : public flame::Service {
  void on_session_enter(const flame::SessionContext& session) override {
    output_size_ = 64, duration_ms_ = 0, memory_ = 0;
    for (auto rest = session.common_data; !rest.empty();) {
      auto line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(line.size() + 1, rest.size()));
      if (!line.empty()) set(line);
    }
  }

  void set(std::string_view line) {
    auto equals = line.find('=');
    auto name = line.substr(0, equals);
    auto text = equals == std::string_view::npos ? "" : line.substr(equals + 1);
    if (name == "output-size") {
      output_size_ = number_of(name, text);
    } else if (name == "duration-ms") {
      duration_ms_ = number_of(name, text);
    } else if (name == "memory") {
      memory_ = number_of(name, text);
    } else {
      throw std::invalid_argument("flmping: no parameter `" + std::string(name) +
                                  "`: there are output-size, duration-ms and memory");
    }
  }

  flame::TaskOutput on_task_invoke(const flame::TaskContext& task) override {
    if (memory_ > 0) {
      std::string touched(memory_, '\1');
      asm volatile("" : : "r"(touched.data()) : "memory");  // or the compiler leaves it out
    }
    std::string text = "pong " + std::to_string(task.task);
    if (duration_ms_ > 0) text += " took " + std::to_string(sleep_us());
    text.resize(output_size_, ' ');
    return text;
  }

  int64_t sleep_us() const {
    auto began = std::chrono::steady_clock::now();
    std::this_thread::sleep_for(std::chrono::milliseconds(duration_ms_));
    auto took = std::chrono::steady_clock::now() - began;
    return std::chrono::duration_cast<std::chrono::microseconds>(took).count();
  }

  uint64_t output_size_ = 64, duration_ms_ = 0, memory_ = 0;
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

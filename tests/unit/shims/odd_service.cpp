// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// A service that does what its first argument says, most of it wrong.

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "flame/service.hpp"
#include "shims/native_protocol.hpp"

extern char** environ;

namespace {

namespace native = flame::shims::native;

class Odd : public flame::Service {
 public:
  explicit Odd(std::string mode) : mode_(std::move(mode)) {}

 private:
  void on_session_enter(const flame::SessionContext& session) override {
    common_ = session.common_data;
    if (mode_ == "refuse") throw std::runtime_error("no such model");
  }

  flame::TaskOutput on_task_invoke(const flame::TaskContext& task) override {
    if (task.input == "fail") return flame::TaskOutput::error("asked to fail");
    if (task.input == "throw") throw std::runtime_error("thrown");
    if (task.input == "common") return common_;
    if (task.input == "environment") return environment();
    if (task.input == "pid") return std::to_string(getpid());
    if (task.input == "exit") exit_with_words();
    if (task.input == "segv") signal(SIGSEGV, SIG_DFL), raise(SIGSEGV);  // past a sanitizer
    if (task.input == "hang") return pause(), "";
    if (task.input == "until cancelled") return until_cancelled(task);
    if (task.input == "slow") std::this_thread::sleep_for(std::chrono::milliseconds(15));
    if (task.input == "close") return shutdown(native::kInstanceFd, SHUT_RDWR), pause(), "";
    if (task.input == "flood") return flood();
    if (task.input == "grandchild") return std::to_string(grandchild(false));
    if (task.input == "fork away") fork_away(false);
    if (task.input == "fork far away") fork_away(true);
    if (task.input.substr(0, 5) == "size ") {
      return std::string(std::strtoull(task.input.data() + 5, nullptr, 10), 'o');
    }
    return task.input;
  }

  std::optional<std::vector<flame::TaskOutput>> on_batch(
      std::span<const flame::TaskContext> tasks) override {
    if (mode_ != "batch") return std::nullopt;
    if (tasks[0].input == "throw") throw std::runtime_error("the whole batch");
    std::vector<flame::TaskOutput> outputs;
    for (const auto& task : tasks) {
      if (task.input == "forget") continue;
      bool fails = task.input == "fail";
      auto text = std::to_string(task.task) + " of " + std::to_string(tasks.size());
      outputs.push_back(fails ? flame::TaskOutput::error("asked to fail") : text);
    }
    return outputs;
  }

  static std::string until_cancelled(const flame::TaskContext& task) {
    while (!task.cancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    flame::TaskContext other = task;
    other.task++;
    return other.cancelled() ? "both" : "cancelled";
  }

  [[noreturn]] static void exit_with_words() {
    std::fprintf(stderr, "out of luck\n");
    std::exit(3);
  }

  static std::string environment() {
    std::string all;
    for (char** entry = environ; *entry != nullptr; entry++) all += std::string(*entry) + "\n";
    return all;
  }

  // Lives on with all descriptors open.
  static pid_t grandchild(bool own_session) {
    pid_t pid = fork();
    if (pid != 0) return pid;
    if (own_session) setsid();
    for (;;) pause();
  }

  [[noreturn]] static void fork_away(bool own_session) {
    std::fprintf(stderr, "grandchild %d\n", grandchild(own_session));
    std::fflush(stderr);
    _exit(3);
  }

  static std::string flood() {
    std::string line(1000, '#');
    for (int i = 0; i < 64 * 1024; i++) std::fprintf(i % 2 ? stderr : stdout, "%s\n", line.c_str());
    return "flooded";
  }

  std::string mode_, common_;
};

// Speaks, but not the protocol.
int raw(const std::string& mode) {
  char enter[4096];
  (void)!read(native::kInstanceFd, enter, sizeof enter);
  std::string out;
  if (mode == "garbage") out.assign(1'000'000, '\xa5');
  if (mode == "size zero") out.assign(8, '\0');
  if (mode == "unasked results") {
    native::put_head(out, native::kResults, 24);
    out.append(24, '\1');
  }
  if (mode == "huge") native::put_head(out, native::kEntered, 1'000'000'000), out.append(100, 'x');
  for (size_t sent = 0; sent < out.size();) {
    ssize_t wrote = send(native::kInstanceFd, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
    if (wrote <= 0) break;
    sent += static_cast<size_t>(wrote);
  }
  for (;;) pause();
}

}  // namespace

int main(int argc, char** argv) {
  std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "deaf") signal(SIGTERM, SIG_IGN);
  if (mode == "garbage" || mode == "size zero" || mode == "unasked results" || mode == "huge" ||
      mode == "silent") {
    return raw(mode);
  }
  if (mode == "dies at start") return std::fprintf(stderr, "no license\n"), 9;
  Odd odd(mode);
  return flame::run(odd);
}

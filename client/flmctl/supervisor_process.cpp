// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/supervisor_process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "client/flmctl/cluster_folder.hpp"
#include "proto/text.hpp"
#include "runtime/assert.hpp"

extern char** environ;

namespace flame::flmctl {

using proto::Code;
using proto::Error;

namespace {

// glibc 2.36 declares these without extern "C": called by number.
int pidfd_of(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }

std::vector<std::string> environment_for(const LaunchPlan& plan) {
  auto named = [](std::string_view entry, std::string_view name) {
    return entry.size() > name.size() && entry[name.size()] == '=' && entry.starts_with(name);
  };
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; entry++) {
    bool dropped = std::any_of(plan.unset_environment.begin(), plan.unset_environment.end(),
                               [&](const auto& name) { return named(*entry, name); }) ||
                   std::any_of(plan.set_environment.begin(), plan.set_environment.end(),
                               [&](const auto& set) { return named(*entry, set.first); });
    if (!dropped) out.emplace_back(*entry);
  }
  for (const auto& [name, value] : plan.set_environment) out.push_back(name + "=" + value);
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (auto& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

// Between fork and exec, so only calls that are safe there. `gate` opens when the parent has
// recorded the pid and ends without a byte if the parent died first. The errno of a failed step
// goes through `failed`.
[[noreturn]] void become(const LaunchPlan& plan, char** command, char** environment, int gate,
                         int failed) {
  auto give_up = [&] {
    int number = errno;
    if (write(failed, &number, sizeof number) < 0) _exit(126);
    _exit(127);
  };
  char byte = 0;
  if (read(gate, &byte, 1) != 1) _exit(125);
  setsid();  // neither Ctrl-C nor the end of the terminal reaches it: it is stopped in order
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  int input = open("/dev/null", O_RDONLY);
  int log = open(plan.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (input < 0 || log < 0 || chdir(plan.folder.c_str()) != 0) give_up();
  dup2(input, 0), dup2(log, 1), dup2(log, 2);
  if (failed != 3) dup3(failed, 3, O_CLOEXEC);
  failed = 3;
  syscall(SYS_close_range, 4u, ~0u, 0u);
  environ = environment;
  execvp(command[0], command);
  give_up();
  _exit(127);
}

struct Pipe {
  int ends[2] = {-1, -1};
  Pipe() {
    int result = pipe2(ends, O_CLOEXEC);
    FLAME_ASSERT(result == 0);
  }
  ~Pipe() { close_end(0), close_end(1); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_end(int end) {
    if (ends[end] >= 0) close(ends[end]);
    ends[end] = -1;
  }
};

}  // namespace

proto::Result<std::unique_ptr<SupervisedProcess>> SupervisedProcess::start(
    const LaunchPlan& plan, const std::function<proto::Status(pid_t)>& record) {
  Pipe gate, failed;
  auto command_texts = plan.command;
  auto environment_texts = environment_for(plan);
  auto command = pointers(command_texts), environment = pointers(environment_texts);
  pid_t pid = fork();
  if (pid < 0)
    return Error{Code::kSystem, std::string("cannot start a process: ") + strerror(errno)};
  if (pid == 0) {
    gate.close_end(1);
    become(plan, command.data(), environment.data(), gate.ends[0], failed.ends[1]);
  }
  failed.close_end(1);
  auto process = std::unique_ptr<SupervisedProcess>(new SupervisedProcess(pid, pidfd_of(pid)));
  auto recorded = process->pidfd_ < 0
                      ? Error{Code::kSystem, "this kernel has no pidfd (Linux 5.3 or later)"}
                      : record(pid);
  bool opened = recorded && write(gate.ends[1], "g", 1) == 1;
  gate.close_end(1);
  int number = 0;
  bool broken = opened && read(failed.ends[0], &number, sizeof number) == sizeof number;
  if (opened && !broken) return process;
  waitpid(pid, nullptr, 0);
  if (!recorded) return recorded.error();
  return Error{Code::kSystem, "cannot run " + plan.command[0] + ": " + strerror(number)};
}

proto::Result<std::unique_ptr<SupervisedProcess>> SupervisedProcess::adopt(pid_t pid,
                                                                           uint64_t start_ticks) {
  Error gone{Code::kNotFound, "process " + std::to_string(pid) + " is gone"};
  int pidfd = pidfd_of(pid);
  if (pidfd < 0) return gone;
  // Compared after the pidfd is held: from here on the number cannot change its owner unnoticed.
  auto process = std::unique_ptr<SupervisedProcess>(new SupervisedProcess(pid, pidfd));
  if (start_ticks == 0 || start_ticks_of(pid) != start_ticks) return gone;
  return process;
}

SupervisedProcess::~SupervisedProcess() {
  if (loop_ != nullptr) loop_->remove_fd(pidfd_);
  if (pidfd_ >= 0) close(pidfd_);
}

void SupervisedProcess::watch(runtime::EventLoop& loop, std::function<void(std::string)> on_exit) {
  loop_ = &loop;
  loop.add_fd(pidfd_, true, false, [this, on_exit = std::move(on_exit)](runtime::EventLoop::Ready) {
    std::string how = reap();
    loop_->remove_fd(pidfd_);
    loop_ = nullptr;
    on_exit(how);
  });
}

void SupervisedProcess::send_signal(int signal) const {
  syscall(SYS_pidfd_send_signal, pidfd_, signal, nullptr, 0);
}

std::string SupervisedProcess::reap() const {
  siginfo_t info{};
  bool ours = waitid(P_PIDFD, static_cast<id_t>(pidfd_), &info, WEXITED) == 0;
  // Only a parent learns the code, and an adopted process has another one.
  return ours ? describe_exit(info.si_code, info.si_status) : "ended";
}

uint64_t start_ticks_of(pid_t pid) {
  std::string stat = read_text_file("/proc/" + std::to_string(pid) + "/stat");
  size_t at = stat.rfind(')');  // the name before it may hold anything
  if (at == stat.npos || stat.compare(at, 3, ") Z") == 0) return 0;
  // After the name comes field 3; the start time is field 22.
  for (int field = 2; field < 22 && at != stat.npos; field++) at = stat.find(' ', at + 1);
  if (at == stat.npos) return 0;
  size_t end = stat.find(' ', at + 1);
  return proto::parse_number<uint64_t>(std::string_view(stat).substr(at + 1, end - at - 1))
      .value_or(0);
}

std::string boot_id() {
  std::string text = read_text_file("/proc/sys/kernel/random/boot_id");
  return text.substr(0, text.find('\n'));
}

std::string describe_exit(int code, int status) {
  if (code == CLD_EXITED) return "exited with code " + std::to_string(status);
  const char* name = sigabbrev_np(status);
  return "was killed by signal " + std::to_string(status) +
         (name == nullptr ? "" : " (SIG" + std::string(name) + ")");
}

}  // namespace flame::flmctl

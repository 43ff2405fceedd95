// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "shims/child_process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>

namespace flame::shims {

namespace {

// Numbers above those that a child is given, so that no dup2 overwrites a source.
constexpr int kSourceFdMin = 64;

// Prepared before the fork: between vfork and exec the child shares our memory and may only make
// system calls.
struct Plan {
  const char* path;
  char* const* arguments;
  char* const* environment;
  const char* directory;
  const std::pair<int, int>* descriptors;
  size_t descriptor_count;
  int last_descriptor;
  int report;  // the end of a pipe that takes the errno of what failed; the exec closes it
  pid_t parent;
};

[[noreturn]] void give_up(const Plan& plan) {
  int error = errno;
  if (write(plan.report, &error, sizeof error) < 0) _exit(126);
  _exit(127);
}

[[noreturn]] void become(const Plan& plan) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != plan.parent) _exit(127);  // the parent died before the line above
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigaction(SIGPIPE, &action, nullptr);
  for (size_t i = 0; i < plan.descriptor_count; i++) {
    dup2(plan.descriptors[i].first, plan.descriptors[i].second);
  }
  // Ours are close-on-exec; this is for those of libraries. Without the call (kernel < 5.9) nothing
  // is worse.
  auto report = static_cast<unsigned>(plan.report);
  syscall(SYS_close_range, static_cast<unsigned>(plan.last_descriptor + 1), report - 1, 0u);
  syscall(SYS_close_range, report + 1, ~0u, 0u);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (plan.directory[0] != '\0' && chdir(plan.directory) != 0) give_up(plan);
  execve(plan.path, plan.arguments, plan.environment);
  give_up(plan);
}

// vfork where posix_spawn would do but for PR_SET_PDEATHSIG: a helper executable in between would
// cost an exec for every task of the shell shim.
__attribute__((noinline)) pid_t fork_and_become(const Plan& plan) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  // What the child does is all in become(): system calls only, on values made before.
  pid_t pid = vfork();         // NOLINT(clang-analyzer-security.insecureAPI.vfork)
  if (pid == 0) become(plan);  // NOLINT(clang-analyzer-unix.Vfork)
  int failed = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = failed;
  return pid;
}

// 0 after the exec, else why there was none. Where vfork is a plain fork (the thread sanitizer and
// valgrind make it one) the child has neither set its group nor run exec yet: then this waits.
int await_exec(int pipe_end) {
  int error = 0;
  ssize_t size;
  do {
    size = read(pipe_end, &error, sizeof error);
  } while (size < 0 && errno == EINTR);
  return size == sizeof error ? error : 0;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (auto& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

proto::Error spawn_error(const Launch& launch, int error) {
  std::string message = "cannot start " + launch.path + ": " + std::strerror(error);
  if (error == ENOENT && access(launch.path.c_str(), F_OK) == 0) {
    message += " (its interpreter, or its working directory " + launch.directory + ", is missing)";
  }
  return proto::Error{proto::Code::kTaskServiceFailed, message};
}

std::string describe(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return "exit code " + std::to_string(info.si_status);
  const char* name = sigabbrev_np(info.si_status);
  return "killed by signal " + std::to_string(info.si_status) +
         (name != nullptr ? " (" + std::string(name) + ")" : "");
}

}  // namespace

proto::Result<std::unique_ptr<ChildProcess>> ChildProcess::spawn(
    const Launch& launch, const std::vector<std::pair<int, int>>& descriptors,
    runtime::EventLoop& loop, OnExit on_exit) {
  std::vector<std::string> arguments{launch.path}, environment;
  arguments.insert(arguments.end(), launch.arguments.begin(), launch.arguments.end());
  for (const auto& [name, value] : launch.environment) environment.push_back(name + "=" + value);
  auto argv = pointers(arguments), envp = pointers(environment);

  std::vector<Descriptor> sources;
  std::vector<std::pair<int, int>> moves;
  int last = 2;
  for (auto [ours, theirs] : descriptors) {
    sources.emplace_back(fcntl(ours, F_DUPFD_CLOEXEC, kSourceFdMin));
    if (!sources.back()) return spawn_error(launch, errno);
    moves.emplace_back(sources.back().get(), theirs);
    last = std::max(last, theirs);
  }
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return spawn_error(launch, errno);
  Descriptor report(ends[0]), low(ends[1]);
  Descriptor reported(fcntl(low.get(), F_DUPFD_CLOEXEC, std::max(kSourceFdMin, last + 2)));
  if (!reported) return spawn_error(launch, errno);
  low.reset();
  Plan plan{launch.path.c_str(),
            argv.data(),
            envp.data(),
            launch.directory.c_str(),
            moves.data(),
            moves.size(),
            last,
            reported.get(),
            getpid()};
  pid_t pid = fork_and_become(plan);
  if (pid < 0) return spawn_error(launch, errno);
  reported.reset();
  if (int error = await_exec(report.get()); error != 0) {
    waitpid(pid, nullptr, 0);
    return spawn_error(launch, error);
  }
  Descriptor pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) {
    int failed = errno;
    ::kill(-pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return spawn_error(launch, failed);
  }
  return std::unique_ptr<ChildProcess>(
      new ChildProcess(pid, std::move(pidfd), launch.guard, loop, std::move(on_exit)));
}

ChildProcess::ChildProcess(pid_t pid, Descriptor pidfd, Guard* guard, runtime::EventLoop& loop,
                           OnExit on_exit)
    : pid_(pid),
      pidfd_(std::move(pidfd)),
      guard_(guard),
      loop_(loop),
      on_exit_(std::move(on_exit)) {
  if (guard_ != nullptr) guard_->add(pid_);
  loop_.add_fd(pidfd_.get(), true, false, [this](runtime::EventLoop::Ready) { ended(); });
}

ChildProcess::~ChildProcess() {
  if (!ended_) reap();
}

// As long as the leader is not reaped, the group's number is ours to kill. A process that was just
// killed is reaped in microseconds, unless the kernel holds it.
void ChildProcess::reap() {
  loop_.remove_fd(pidfd_.get());
  ::kill(-pid_, SIGKILL);
  if (guard_ != nullptr) guard_->remove(pid_);
  waitpid(pid_, nullptr, 0);
  ended_ = true;
}

void ChildProcess::signal(int number) {
  if (!ended_) ::kill(-pid_, number);
}

void ChildProcess::ended() {
  siginfo_t info{};
  if (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0) return;
  if (info.si_pid == 0) return;
  reap();
  bool failed = info.si_code != CLD_EXITED || info.si_status != 0;
  auto on_exit = std::move(on_exit_);
  on_exit(failed, describe(info));
}

}  // namespace flame::shims

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "runtime/command.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "proto/text.hpp"

namespace flame::runtime {

using proto::Code;
using proto::Error;

namespace {

constexpr size_t kComplaintMax = 300;

// Ours, with the changes.
std::vector<std::string> environment_of(const CommandLine& line) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; entry++) {
    std::string_view name(*entry, strcspn(*entry, "="));
    bool changed = false;
    for (const auto& [changed_name, value] : line.environment) {
      changed = changed || name == changed_name;
    }
    if (!changed) all.emplace_back(*entry);
  }
  for (const auto& [name, value] : line.environment) all.push_back(name + "=" + value);
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> all;
  for (auto& word : words) all.push_back(word.data());
  all.push_back(nullptr);
  return all;
}

// A group of its own, no descriptors but the three, no signal blocked.
int spawn(const CommandLine& line, int out, int err, pid_t& pid) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, out, 1);
  posix_spawn_file_actions_adddup2(&files, err, 2);
  posix_spawn_file_actions_addclosefrom_np(&files, 3);
  sigset_t none, pipe;
  sigemptyset(&none);
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &pipe);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<std::string> words = line.words, environment = environment_of(line);
  int failed = posix_spawnp(&pid, words[0].c_str(), &files, &attributes, pointers(words).data(),
                            pointers(environment).data());
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  return failed;
}

}  // namespace

Command::Command(EventLoop& loop, CommandLine line, Done done)
    : loop_(loop), line_(std::move(line)), done_(std::move(done)) {
  int64_t due = loop_.now().mono_us + line_.patience_us;
  if (int failed = start(); failed != 0) {
    Error error{Code::kSystem, "'" + proto::printable(line_.words[0], 100) +
                                   "' cannot be started: " + std::strerror(failed)};
    timer_ = loop_.call_at(loop_.now().mono_us, [this, error] { finish(error); });
    return;
  }
  timer_ = loop_.call_at(due, [this] {
    give_up("took longer than " + std::to_string(line_.patience_us / proto::kUsPerSecond) + " s");
  });
}

Command::~Command() { release(); }

int Command::start() {
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0) return errno;
  if (pipe2(err, O_CLOEXEC) != 0) {
    int failed = errno;
    close(out[0]);
    close(out[1]);
    return failed;
  }
  out_.fd = out[0];
  err_.fd = err[0];
  int failed = spawn(line_, out[1], err[1], pid_);
  close(out[1]);
  close(err[1]);
  watch(out_);
  watch(err_);
  if (failed != 0) {
    pid_ = 0;
    return failed;
  }
  pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  if (pidfd_ < 0) return errno;
  loop_.add_fd(pidfd_, true, false, [this](EventLoop::Ready) { ended(); });
  return 0;
}

void Command::watch(Stream& stream) {
  fcntl(stream.fd, F_SETFL, O_NONBLOCK);
  loop_.add_fd(stream.fd, true, false, [this, &stream](EventLoop::Ready) { read(stream); });
}

void Command::read(Stream& stream) {
  char bytes[16384];
  ssize_t got = ::read(stream.fd, bytes, sizeof bytes);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return close_stream(stream);
  stream.text.append(bytes, static_cast<size_t>(got));
  // Of complaints the end is enough.
  if (&stream == &err_ && stream.text.size() > 2 * kComplaintMax) {
    stream.text.erase(0, stream.text.size() - kComplaintMax);
  } else if (stream.text.size() > line_.output_max) {
    give_up("printed more than " + std::to_string(line_.output_max) + " bytes");
  }
}

void Command::close_stream(Stream& stream) {
  if (stream.fd < 0) return;
  loop_.remove_fd(stream.fd);
  close(std::exchange(stream.fd, -1));
}

void Command::ended() {
  // What it left in the pipes; a child of its own may hold them open, and is not waited for.
  for (Stream* stream : {&out_, &err_}) {
    char bytes[16384];
    ssize_t got = 0;
    while (stream->fd >= 0 && stream->text.size() <= line_.output_max &&
           (got = ::read(stream->fd, bytes, sizeof bytes)) > 0) {
      stream->text.append(bytes, static_cast<size_t>(got));
    }
  }
  int status = 0;
  waitpid(std::exchange(pid_, 0), &status, 0);
  if (out_.text.size() > line_.output_max)
    return give_up("printed more than " + std::to_string(line_.output_max) + " bytes");
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return finish(std::move(out_.text));
  std::string how = WIFEXITED(status)
                        ? "failed with exit code " + std::to_string(WEXITSTATUS(status))
                        : "was killed by signal " + std::to_string(WTERMSIG(status));
  std::string tail = err_.text.substr(err_.text.size() - std::min(err_.text.size(), kComplaintMax));
  while (!tail.empty() && tail.back() == '\n') tail.pop_back();
  std::replace(tail.begin(), tail.end(), '\n', ' ');
  give_up(how + (tail.empty() ? "" : ": " + proto::printable(tail, kComplaintMax)));
}

void Command::give_up(const std::string& why) {
  finish(Error{Code::kSystem, "'" + proto::printable(line_.words[0], 100) + "' " + why});
}

void Command::finish(proto::Result<std::string> result) {
  release();
  auto done = std::move(done_);
  done(std::move(result));
}

void Command::release() {
  loop_.cancel(std::exchange(timer_, 0));
  close_stream(out_);
  close_stream(err_);
  if (pidfd_ >= 0) {
    loop_.remove_fd(pidfd_);
    close(std::exchange(pidfd_, -1));
  }
  if (pid_ == 0) return;
  kill(-pid_, SIGKILL);
  waitpid(std::exchange(pid_, 0), nullptr, 0);
}

}  // namespace flame::runtime

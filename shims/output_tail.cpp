// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "shims/output_tail.hpp"

#include <fcntl.h>

#include <array>

#include "proto/limits.hpp"

namespace flame::shims {

namespace {
// A pipe holds 64 KiB by default and 1 MiB at most.
constexpr int kReadsAtOnce = 16;
}  // namespace

bool open_pipe(Pipe& pipe) {
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return false;
  pipe.read = Descriptor(ends[0]);
  pipe.write = Descriptor(ends[1]);
  return true;
}

void set_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

void OutputTail::watch(Descriptor pipe) {
  close();
  tail_.clear();
  pipe_ = std::move(pipe);
  set_nonblocking(pipe_.get());
  loop_.add_fd(pipe_.get(), true, false, [this](runtime::EventLoop::Ready) { read_some(); });
}

void OutputTail::read() {
  for (int i = 0; i < kReadsAtOnce && read_some(); i++) {
  }
}

void OutputTail::close() {
  read();
  if (pipe_) loop_.remove_fd(pipe_.get());
  pipe_.reset();
}

bool OutputTail::read_some() {
  if (!pipe_) return false;
  std::array<char, kPipeBytes> buffer;
  ssize_t got = ::read(pipe_.get(), buffer.data(), buffer.size());
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
    loop_.remove_fd(pipe_.get());
    pipe_.reset();
  }
  if (got <= 0) return false;
  tail_.append(buffer.data(), static_cast<size_t>(got));
  log_.append({buffer.data(), static_cast<size_t>(got)});
  if (tail_.size() > proto::kStderrTailBytes) {
    tail_.erase(0, tail_.size() - proto::kStderrTailBytes);
  }
  return true;
}

std::string OutputTail::explain(const std::string& how) const {
  auto end = tail_.find_last_not_of(" \t\r\n");
  if (end == std::string::npos) return how;
  return how + "; it wrote:\n" + tail_.substr(0, end + 1);
}

}  // namespace flame::shims

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "bench/ceiling/redis.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "bench/ceiling/processes.hpp"

namespace flame::ceiling {

namespace {

constexpr size_t kReceiveBytes = 64 * 1024;

// The end of the reply that begins at `at`, or npos if it is not all there.
size_t end_of_reply(std::string_view in, size_t at) {
  size_t line = in.find("\r\n", at);
  if (line == in.npos) return in.npos;
  size_t end = line + 2;
  long count = std::atol(in.data() + at + 1);
  switch (in[at]) {
    case '-':
      die("Redis: " + std::string(in.substr(at, line - at)));
    case '$':
      if (count >= 0) end += static_cast<size_t>(count) + 2;
      return end <= in.size() ? end : in.npos;
    case '*':
      for (; count > 0; count--) {
        if (end >= in.size()) return in.npos;
        end = end_of_reply(in, end);
        if (end == in.npos) return end;
      }
      return end;
    default:
      return end;
  }
}

}  // namespace

Redis::Redis(const std::string& socket_path) : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) die("too long a path: " + socket_path);
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size());
  if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    die("no Redis at " + socket_path + ": " + std::strerror(errno));
  }
}

Redis::~Redis() { close(fd_); }

void Redis::ask(std::string_view bytes, size_t replies) {
  rest_ = bytes;
  replies_ = replies;
  expected_.clear();
  while (replies_ > 0) {
    pollfd wait{fd_, static_cast<short>(POLLIN | (rest_.empty() ? 0 : POLLOUT)), 0};
    poll(&wait, 1, -1);
    answered();
  }
}

void Redis::send(std::string_view bytes, size_t replies, uint64_t number) {
  rest_ = bytes;
  replies_ = replies;
  std::string shown = std::to_string(number);
  expected_ = "*2\r\n$9\r\n1-ceiling\r\n$" + std::to_string(shown.size()) + "\r\n" + shown + "\r\n";
  write_some();
}

void Redis::write_some() {
  while (!rest_.empty()) {
    ssize_t n = ::send(fd_, rest_.data(), rest_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n <= 0) return;
    rest_.remove_prefix(static_cast<size_t>(n));
  }
}

bool Redis::read_some() {
  size_t before = in_.size();
  in_.resize(before + kReceiveBytes);
  ssize_t n = recv(fd_, in_.data() + before, kReceiveBytes, MSG_DONTWAIT);
  if (n == 0) die("Redis closed the connection");
  in_.resize(before + static_cast<size_t>(n > 0 ? n : 0));
  return n > 0;
}

bool Redis::take_reply() {
  if (at_ == in_.size()) return false;
  size_t end = end_of_reply(in_, at_);
  if (end == std::string::npos) return false;
  std::string_view reply = std::string_view(in_).substr(at_, end - at_);
  if (reply.starts_with("*-1")) die("fenced: another process wrote flame:meta");
  if (--replies_ == 0 && !expected_.empty() && reply != expected_)
    die("the fence shows another batch");
  at_ = end;
  if (at_ == in_.size()) in_.clear(), at_ = 0;
  return true;
}

bool Redis::answered() {
  if (replies_ == 0) return false;
  write_some();
  if (!read_some()) return false;
  while (replies_ > 0 && take_reply()) {
  }
  return replies_ == 0;
}

}  // namespace flame::ceiling

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "runtime/probe.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "proto/text.hpp"

namespace flame::runtime {

namespace {
constexpr size_t kAnswerBytesMax = 4 << 20;
}

Probe::Probe(EventLoop& loop, const std::string& address, std::string request, int64_t patience_us,
             std::function<void(std::string)> done, Then then)
    : loop_(loop), request_(std::move(request)), done_(std::move(done)), then_(then) {
  bool connecting = connect_to(address);
  // Also a refused connection is told from the loop, never from inside this constructor.
  timer_ = loop_.call_at(loop_.now().mono_us + (connecting ? patience_us : 0), [this] {
    answer_.clear();
    finish();
  });
  if (connecting) loop_.add_fd(fd_, true, true, [this](auto ready) { on_ready(ready); });
}

Probe::~Probe() { release(); }

bool Probe::connect_to(const std::string& address) {
  sockaddr_un local{};
  sockaddr_in remote{};
  sockaddr* to = nullptr;
  socklen_t size = 0;
  if (address.starts_with("/")) {
    if (address.size() >= sizeof local.sun_path) return false;
    local.sun_family = AF_UNIX;
    std::memcpy(local.sun_path, address.c_str(), address.size() + 1);
    to = reinterpret_cast<sockaddr*>(&local), size = sizeof local;
  } else {
    size_t colon = address.rfind(':');
    if (colon == address.npos) return false;
    auto port = proto::parse_number<uint16_t>(std::string_view(address).substr(colon + 1));
    remote.sin_family = AF_INET;
    if (!port || inet_pton(AF_INET, address.substr(0, colon).c_str(), &remote.sin_addr) != 1)
      return false;
    remote.sin_port = htons(*port);
    to = reinterpret_cast<sockaddr*>(&remote), size = sizeof remote;
  }
  fd_ = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  return fd_ >= 0 && (connect(fd_, to, size) == 0 || errno == EINPROGRESS);
}

void Probe::on_ready(EventLoop::Ready ready) {
  if (ready.writable && !request_.empty()) {
    ssize_t sent = send(fd_, request_.data(), request_.size(), MSG_NOSIGNAL);
    if (sent > 0) request_.erase(0, static_cast<size_t>(sent));
    if (sent < 0 && errno != EAGAIN) return finish();
    if (request_.empty()) loop_.change_fd(fd_, true, false);
    if (request_.empty() && then_ == Then::kHangUp) shutdown(fd_, SHUT_WR);
  }
  if (!ready.readable) return;
  char part[16384];
  ssize_t got = recv(fd_, part, sizeof part, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got > 0) answer_.append(part, static_cast<size_t>(got));
  if (got <= 0 || answer_.size() > kAnswerBytesMax) finish();
}

void Probe::finish() {
  release();
  auto done = std::move(done_);
  done(std::move(answer_));
}

void Probe::release() {
  loop_.cancel(timer_);
  if (fd_ >= 0) {
    loop_.remove_fd(fd_);
    close(fd_);
  }
  fd_ = -1;
}

}  // namespace flame::runtime

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/supervisor_control.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace flame::flmctl {

using proto::Code;
using proto::Error;

namespace {

constexpr size_t kRequestBytesMax = 64 * 1024;
/// From a supervisor's last answer to its end.
constexpr int kEndPatienceMs = 5000;

sockaddr_un address_for(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), std::min(path.size(), sizeof address.sun_path - 1));
  return address;
}

// The other side of a connected socket; -1 where it is already gone. Taken before the last
// question, while the number still belongs to it.
int pidfd_of_peer(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid <= 0) return -1;
  return static_cast<int>(syscall(SYS_pidfd_open, peer.pid, 0));
}

void wait_for_end(int pidfd) {
  pollfd waited{pidfd, POLLIN, 0};
  if (pidfd >= 0) poll(&waited, 1, kEndPatienceMs);
}

bool send_all(int fd, std::string_view text) {
  while (!text.empty()) {
    ssize_t sent = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    text.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

}  // namespace

ControlServer::ControlServer(runtime::EventLoop& loop,
                             std::function<void(const ControlRequest&, Answer)> handler)
    : loop_(loop), handler_(std::move(handler)) {}

ControlServer::~ControlServer() {
  close_listener();
  while (!clients_.empty()) drop(clients_.begin()->first);
}

proto::Status ControlServer::listen(const std::string& path) {
  unlink(path.c_str());
  auto address = address_for(path);
  listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener_ < 0 ||
      bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener_, 16) != 0) {
    return Error{Code::kSystem, "cannot listen on " + path + ": " + std::strerror(errno)};
  }
  loop_.add_fd(listener_, true, false, [this](auto) { on_connect(); });
  return {};
}

void ControlServer::close_listener() {
  if (listener_ < 0) return;
  loop_.remove_fd(listener_);
  close(listener_);
  listener_ = -1;
}

void ControlServer::on_connect() {
  int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  uint64_t id = next_client_++;
  clients_[id] = {fd, ""};
  loop_.add_fd(fd, true, false, [this, id](auto) { on_readable(id); });
}

void ControlServer::on_readable(uint64_t id) {
  Client& client = clients_.at(id);
  char part[4096];
  ssize_t got = recv(client.fd, part, sizeof part, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0 || client.received.size() > kRequestBytesMax) return drop(id);
  client.received.append(part, static_cast<size_t>(got));
  size_t end = client.received.find('\n');
  if (end == std::string::npos) return;
  auto request = request_from_json(std::string_view(client.received).substr(0, end));
  client.received.erase(0, end + 1);
  auto reply = [this, id](const ControlReply& r) { answer(id, r); };
  if (request) return handler_(*request, reply);
  reply(ControlReply{.result = "refused", .message = request.error().message});
}

void ControlServer::drop(uint64_t id) {
  auto found = clients_.find(id);
  if (found == clients_.end()) return;
  loop_.remove_fd(found->second.fd);
  close(found->second.fd);
  clients_.erase(found);
}

void ControlServer::answer(uint64_t id, const ControlReply& reply) {
  auto found = clients_.find(id);
  // A reply is far smaller than a socket's buffer, so a client that reads never makes this send
  // stop half-way.
  if (found != clients_.end() && !send_all(found->second.fd, to_json(reply) + "\n")) drop(id);
}

proto::Result<ControlReply> ask_supervisor(const std::string& socket_path,
                                           const ControlRequest& request) {
  auto address = address_for(socket_path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool connected =
      fd >= 0 && connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  bool ends = connected && request.verb == "down";
  int supervisor = ends ? pidfd_of_peer(fd) : -1;
  std::string received;
  if (connected && send_all(fd, to_json(request) + "\n")) {
    char part[16384];
    ssize_t got = 1;
    while (received.find('\n') == received.npos && (got > 0 || errno == EINTR)) {
      got = recv(fd, part, sizeof part, 0);
      if (got > 0) received.append(part, static_cast<size_t>(got));
      if (got == 0) break;
    }
  }
  if (fd >= 0) close(fd);
  wait_for_end(supervisor);
  if (supervisor >= 0) close(supervisor);
  if (size_t end = received.find('\n'); end != received.npos) {
    return reply_from_json(std::string_view(received).substr(0, end));
  }
  return Error{Code::kNoBroker, "no supervisor answers at " + socket_path};
}

}  // namespace flame::flmctl

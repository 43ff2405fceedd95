// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// The ceiling's executor and the service process that it forks: tasks cross a socket pair and come
// back.

#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <deque>

#include "bench/ceiling/message.hpp"
#include "bench/ceiling/processes.hpp"
#include "proto/elements.hpp"
#include "runtime/clock.hpp"
#include "runtime/socket.hpp"

namespace flame::ceiling {

namespace {

constexpr int kPipeBytes = 4 << 20;
constexpr int kTaskMessagesPerTurn = 4;

struct Prefix {
  uint64_t first, count, size;
};

bool read_all(int fd, char* to, size_t size) {
  while (size > 0) {
    ssize_t n = read(fd, to, size);
    if (n <= 0) return false;
    to += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

bool write_all(int fd, const std::string& bytes) {
  for (size_t at = 0; at < bytes.size();) {
    ssize_t n = write(fd, bytes.data() + at, bytes.size() - at);
    if (n <= 0) return false;
    at += static_cast<size_t>(n);
  }
  return true;
}

void put_prefix(std::string& out, const Prefix& prefix) {
  out.append(reinterpret_cast<const char*>(&prefix), sizeof prefix);
}

// One element after the other, as if each were a task's answer.
int serve(int fd) {
  Prefix prefix;
  std::string body, out;
  while (read_all(fd, reinterpret_cast<char*>(&prefix), sizeof prefix)) {
    body.resize(prefix.size);
    if (!read_all(fd, body.data(), body.size())) break;
    out.clear();
    put_prefix(out, prefix);
    proto::ElementReader reader(body);
    while (auto element = reader.next()) proto::append_element(out, *element);
    if (!write_all(fd, out)) break;
  }
  return 0;
}

class Executor {
 public:
  Executor(const Settings& settings, int service)
      : socket_(context_, runtime::Socket::Kind::kDealer), service_(service) {
    if (!socket_.connect(settings.executors)) die("cannot connect to " + settings.executors);
    Head hello{Kind::kHello, 0, settings.credit};
    proto::Bytes none;
    // The socket takes nothing before it is connected.
    while (socket_.send("", to_bytes(hello), &none) != runtime::Sent::kYes) poll(nullptr, 0, 1);
  }

  int run() {
    for (;;) {
      bool ready = out_.size() < static_cast<size_t>(kPipeBytes) && socket_.readable();
      pollfd fds[2] = {
          {service_, static_cast<short>(POLLIN | (at_ < out_.size() ? POLLOUT : 0)), 0},
          {socket_.fd(), POLLIN, 0}};
      poll(fds, 2, ready ? 0 : -1);
      if ((fds[0].revents & (POLLIN | POLLHUP)) != 0 && !take_answer()) return 0;
      for (int i = 0; i < kTaskMessagesPerTurn && socket_.receive(received_); i++) take_tasks();
      write_some();
    }
  }

 private:
  void take_tasks() {
    Head head;
    if (!from_bytes(received_.header, head)) die("a strange message from the broker");
    put_prefix(out_, {head.first, head.count, received_.payload.size()});
    out_ += received_.payload.view();
    started_us_.push_back(runtime::read_clock().wall_us);
  }

  bool take_answer() {
    Prefix prefix;
    if (!read_all(service_, reinterpret_cast<char*>(&prefix), sizeof prefix)) return false;
    std::string body(prefix.size, '\0');
    if (!read_all(service_, body.data(), body.size())) return false;
    Head head{Kind::kDone, prefix.first, prefix.count};
    auto start_us = static_cast<uint64_t>(started_us_.front());
    started_us_.pop_front();
    head.base_ms = start_us / 1000;
    head.start_us = start_us % 1000;
    head.end_us = static_cast<uint64_t>(runtime::read_clock().wall_us) - head.base_ms * 1000;
    auto elements = proto::Bytes::own(std::move(body));
    socket_.send("", to_bytes(head), &elements);
    return true;
  }

  // Never waits, so that executor and service cannot wait for each other.
  void write_some() {
    if (at_ == out_.size()) return;
    ssize_t n = send(service_, out_.data() + at_, out_.size() - at_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) at_ += static_cast<size_t>(n);
    if (at_ == out_.size()) out_.clear(), at_ = 0;
  }

  runtime::SocketContext context_;
  runtime::Socket socket_;
  runtime::Received received_;
  int service_;
  std::string out_;
  size_t at_ = 0;
  std::deque<int64_t> started_us_;
};

}  // namespace

int run_executor(const Settings& settings) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) die("no socket pair");
  for (int fd : pair) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kPipeBytes, sizeof kPipeBytes);
  if (fork() == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(pair[0]);
    _exit(serve(pair[1]));
  }
  close(pair[1]);
  return Executor(settings, pair[0]).run();
}

}  // namespace flame::ceiling

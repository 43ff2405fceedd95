// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// flame-bench-idle: many connected executors that have nothing to do, in one process. Each is a TCP
// connection that speaks ZMTP 3.0 (NULL, DEALER) by hand, because ten thousand libzmq sockets would
// cost more than the broker that is to be measured. They say hello and beat every second; bindings
// are not asked for.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "proto/codec.hpp"
#include "proto/link.hpp"
#include "proto/text.hpp"
#include "proto/time.hpp"
#include "runtime/clock.hpp"

namespace flame::bench {

namespace {

constexpr int64_t kTickUs = 10'000;
constexpr int64_t kBeatUs = int64_t{proto::kBeatMs} * proto::kUsPerMs;
constexpr size_t kConnectAtOnce = 64;
constexpr char kCommand = 4;
constexpr uint32_t kLinkStep =
    1 << 20;  // above the number of executors: a link is never used twice

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "flame-bench-idle: %s\n", what.c_str());
  std::exit(1);
}

std::string frame(char flags, const std::string& body) {
  std::string out{flags, static_cast<char>(body.size())};
  if (body.size() > 255) {
    out = {static_cast<char>(flags | 2)};
    for (int shift = 56; shift >= 0; shift -= 8)
      out += static_cast<char>(body.size() >> shift & 255);
  }
  return out + body;
}

std::string greeting() {
  std::string out("\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL", 16);
  out.resize(64, '\0');
  return out;
}

std::string ready() {
  std::string body("\5READY\13Socket-Type\0\0\0\6DEALER\10Identity\0\0\0\0", 41);
  return frame(kCommand, body);
}

struct Totals {
  size_t welcomed = 0;
  uint64_t beats = 0, resyncs = 0, errors = 0, lost = 0;
};

class IdleExecutor {
 public:
  IdleExecutor(const sockaddr_in& address, size_t number, int epoll, int64_t phase_us)
      : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
        link_(static_cast<uint32_t>(number) + 1),
        number_(number),
        beat_at_us_(phase_us + kBeatUs) {
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      die("cannot connect");
    int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = number;
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd_, &event);
    write(greeting() + ready());
  }

  void on_readable(Totals& totals) {
    char buffer[16 * 1024];
    ssize_t n = recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n == 0) {
      totals.lost++;
      close(fd_);
      fd_ = -1;
    }
    if (n <= 0) return;
    in_.append(buffer, static_cast<size_t>(n));
    if (!greeted_) {
      if (in_.size() < 64) return;
      in_.erase(0, 64);
      greeted_ = true;
    }
    size_t at = 0;
    while (size_t size = take(std::string_view(in_).substr(at), totals)) at += size;
    in_.erase(0, at);
  }

  void on_time(int64_t now_us) {
    if (fd_ < 0 || !welcomed_) return;
    if (now_us >= beat_at_us_) {
      beat_at_us_ += beat_us_;
      say(proto::Beat{});
    }
  }

  bool welcomed() const { return welcomed_; }

 private:
  // The bytes of the first frame, or 0 if it is not all there.
  size_t take(std::string_view in, Totals& totals) {
    if (in.size() < 2) return 0;
    bool large = (in[0] & 2) != 0;
    size_t head = large ? 9 : 2, size = 0;
    if (in.size() < head) return 0;
    for (size_t i = 1; i < head; i++) size = size << 8 | static_cast<unsigned char>(in[i]);
    if (in.size() < head + size) return 0;
    auto body = in.substr(head, size);
    if ((in[0] & kCommand) != 0) {
      if (body.starts_with("\5READY")) say_hello();
    } else if ((in[0] & 1) == 0) {
      on_message(std::string(body), totals);
    }
    return head + size;
  }

  // Not before the broker's READY: libzmq takes what comes earlier for a part of the handshake.
  void say_hello() {
    proto::ExecutorHello hello;
    hello.executor = "idle-" + std::to_string(number_);
    hello.nonce = std::to_string(number_) + "-" + std::to_string(getpid());
    hello.application = "flame-bench-idle";  // nobody has tasks for it
    hello.slots = 1;
    hello.address = "bench";
    hello.version = FLAME_VERSION;
    say(hello);
  }

  void on_message(const std::string& header, Totals& totals) {
    auto decoded = proto::decode(header, {});
    if (!decoded) return;  // a payload frame of something that is not for the idle
    if (auto beat = std::get_if<proto::Beat>(&decoded->message)) {
      totals.beats++;
      beat_us_ = std::max(kBeatUs, static_cast<int64_t>(beat->idle_ms) * 1000);
    }
    if (std::holds_alternative<proto::Resync>(decoded->message)) {
      if (!welcomed_) return;  // one hello is on its way
      totals.resyncs++;
      totals.welcomed--;
      welcomed_ = false;
      link_ = proto::Link(link_.id() + kLinkStep);
      say_hello();
    }
    if (std::holds_alternative<proto::ErrorReply>(decoded->message)) totals.errors++;
    if (std::holds_alternative<proto::ExecutorWelcome>(decoded->message)) {
      welcomed_ = true;
      totals.welcomed++;
    }
  }

  void say(const proto::Message& message) { write(frame(0, proto::encode(link_.next(), message))); }
  // A connection that the broker gave up stays away: the harness sees that one is missing.
  void write(const std::string& bytes) {
    if (fd_ < 0) return;
    auto n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n == static_cast<ssize_t>(bytes.size())) return;
    close(fd_);
    fd_ = -1;
  }

  int fd_;
  proto::Link link_;
  size_t number_;
  std::string in_;
  bool greeted_ = false, welcomed_ = false;
  int64_t beat_at_us_;
  int64_t beat_us_ = kBeatUs;
};

volatile sig_atomic_t stopped = 0;

class Crowd {
 public:
  Crowd(const std::string& host, uint16_t port, size_t count)
      : count_(count), epoll_(epoll_create1(0)) {
    address_.sin_family = AF_INET;
    address_.sin_port = htons(port);
    if (inet_pton(AF_INET, host.c_str(), &address_.sin_addr) != 1)
      die("not an IPv4 address: " + host);
    executors_.reserve(count);
  }

  void run() {
    bool said = false;
    while (stopped == 0) {
      int64_t now_us = runtime::read_clock().mono_us;
      connect_some(now_us);
      handle();
      size_t slice = static_cast<size_t>(now_us / kTickUs) % 10;
      for (size_t i = slice; i < executors_.size(); i += 10) executors_[i].on_time(now_us);
      if (!said && totals_.welcomed == count_) {
        said = true;
        print();
      }
    }
    print();
  }

 private:
  // A few at a time, each with a beat of its own phase.
  void connect_some(int64_t now_us) {
    for (size_t i = 0; i < kConnectAtOnce && executors_.size() < count_; i++) {
      if (executors_.size() > totals_.welcomed + 4 * kConnectAtOnce) return;
      auto number = executors_.size();
      executors_.emplace_back(address_, number, epoll_,
                              now_us + static_cast<int64_t>(number * 7919 % 1000) * 1000);
    }
  }
  void handle() {
    epoll_event events[512];
    int n = epoll_wait(epoll_, events, 512, static_cast<int>(kTickUs / 1000 / 2));
    for (int i = 0; i < n; i++) executors_[events[i].data.u64].on_readable(totals_);
  }
  void print() const {
    std::printf(
        "{\"welcomed\": %zu, \"beats\": %lu, \"resyncs\": %lu, \"errors\": %lu, \"lost\": %lu}\n",
        totals_.welcomed, totals_.beats, totals_.resyncs, totals_.errors, totals_.lost);
    std::fflush(stdout);
  }

  size_t count_;
  int epoll_;
  sockaddr_in address_{};
  std::vector<IdleExecutor> executors_;
  Totals totals_;
};

}  // namespace

}  // namespace flame::bench

// usage: flame-bench-idle HOST PORT COUNT; a line when all are welcomed, another at SIGTERM.
int main(int argc, char** argv) {
  using namespace flame;
  auto port = argc == 4 ? proto::parse_number<uint16_t>(argv[2]) : std::nullopt;
  auto count = argc == 4 ? proto::parse_number<size_t>(argv[3]) : std::nullopt;
  if (!port || !count) bench::die("usage: flame-bench-idle HOST PORT COUNT");
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  for (int signal : {SIGTERM, SIGINT}) std::signal(signal, [](int) { bench::stopped = 1; });
  bench::Crowd(argv[1], *port, *count).run();
}

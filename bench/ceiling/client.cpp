// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// The ceiling's client: submits, takes results, says what it has read. Prints one JSON object.

#include <poll.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "bench/ceiling/message.hpp"
#include "bench/ceiling/processes.hpp"
#include "proto/elements.hpp"
#include "proto/limits.hpp"
#include "proto/time.hpp"
#include "runtime/clock.hpp"
#include "runtime/socket.hpp"

namespace flame::ceiling {

namespace {

// As the real client: what is read is said after this much or this long.
constexpr uint64_t kReadBytes = proto::MiB;
constexpr uint64_t kEntryBytes = 128;
constexpr int64_t kReadDelayUs = 20'000;
constexpr uint64_t kWarmUp = 100;

class Client {
 public:
  explicit Client(const Settings& settings)
      : settings_(settings),
        wanted_(settings.tasks + (settings.latency ? kWarmUp : 0)),
        batch_(settings.latency ? 1 : settings.batch),
        socket_(context_, runtime::Socket::Kind::kDealer) {
    if (!socket_.connect(settings.clients)) die("cannot connect to " + settings.clients);
    std::string input(settings.size, 'p'), all;
    for (uint64_t i = 0; i < batch_; i++) proto::append_element(all, input);
    inputs_ = proto::Bytes::own(std::move(all));
  }

  int run() {
    if (settings_.latency) round_trips_us_.reserve(settings_.tasks);
    started_us_ = now_us();
    while (got_ < wanted_) {
      while (may_submit()) submit();
      say_what_is_read();
      if (!take()) sleep();
    }
    print(now_us() - started_us_);
    return 0;
  }

 private:
  static int64_t now_us() { return runtime::read_clock().mono_us; }

  bool may_submit() const {
    if (given_ == wanted_ || unacknowledged_ >= proto::kSubmitsUnackedMax) return false;
    if (settings_.latency) return given_ == got_;
    return settings_.window == 0 || given_ - got_ < settings_.window;
  }

  void submit() {
    if (settings_.latency && given_ == kWarmUp) started_us_ = now_us();
    Head head{Kind::kSubmit, 0, std::min(batch_, wanted_ - given_), ++number_};
    auto body = inputs_.slice(0, head.count * proto::element_size(settings_.size));
    sent_us_ = now_us();
    // The socket takes nothing before it is connected: that is not counted.
    while (socket_.send("", to_bytes(head), &body) != runtime::Sent::kYes) {
      poll(nullptr, 0, 1);
      if (given_ == 0) started_us_ = sent_us_ = now_us();
    }
    given_ += head.count;
    unacknowledged_++;
  }

  bool take() {
    if (!socket_.receive(received_)) return false;
    Head head;
    if (!from_bytes(received_.header, head)) die("a strange message from the broker");
    if (head.kind == Kind::kAcknowledge) {
      unacknowledged_--;
      return true;
    }
    if (got_ == 0) results_ = head.number;  // a client before this one has read those below
    if (head.number != results_ || !proto::is_elements(received_.payload.view(), head.count)) {
      die("results out of order");
    }
    results_++;
    got_ += head.count;
    if (settings_.latency && got_ > kWarmUp) round_trips_us_.push_back(now_us() - sent_us_);
    if (unread_bytes_ == 0) read_at_us_ = now_us() + kReadDelayUs;
    unread_bytes_ += received_.payload.size() + kEntryBytes;
    return true;
  }

  void say_what_is_read() {
    if (unread_bytes_ == 0 || (unread_bytes_ < kReadBytes && now_us() < read_at_us_)) return;
    Head head{Kind::kRead, 0, 0, results_};
    proto::Bytes none;
    socket_.send("", to_bytes(head), &none);
    unread_bytes_ = 0;
  }

  void sleep() {
    int64_t wait_us = unread_bytes_ > 0 ? std::max<int64_t>(0, read_at_us_ - now_us()) : 100'000;
    pollfd fd{socket_.fd(), POLLIN, 0};
    if (!socket_.readable()) poll(&fd, 1, static_cast<int>((wait_us + 999) / 1000));
  }

  void print(int64_t took_us) {
    double seconds = static_cast<double>(took_us) / proto::kUsPerSecond;
    std::printf("{\"tasks\": %lu, \"seconds\": %.6f, \"tasks_per_second\": %.0f", settings_.tasks,
                seconds, static_cast<double>(settings_.tasks) / seconds);
    if (auto& v = round_trips_us_; !v.empty()) {
      std::sort(v.begin(), v.end());
      auto at = [&v](size_t percent) {
        return static_cast<double>(v[v.size() * percent / 100]) / 1000;
      };
      std::printf(", \"latency_ms\": {\"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"max\": %.3f}",
                  at(50), at(90), at(99), static_cast<double>(v.back()) / 1000);
    }
    std::puts("}");
  }

  const Settings& settings_;
  const uint64_t wanted_, batch_;
  runtime::SocketContext context_;
  runtime::Socket socket_;
  runtime::Received received_;
  proto::Bytes inputs_;
  uint64_t given_ = 0, got_ = 0, number_ = 0, unacknowledged_ = 0, results_ = 0;
  uint64_t unread_bytes_ = 0;
  int64_t read_at_us_ = 0, sent_us_ = 0, started_us_ = 0;
  std::vector<int64_t> round_trips_us_;
};

}  // namespace

int run_client(const Settings& settings) { return Client(settings).run(); }

}  // namespace flame::ceiling

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// One loop, one thread, one per process: ZeroMQ sockets, file descriptors and timers. Handlers are
// called by run() only, must return quickly and never sleep or wait for a reply. The clock is read
// once per turn.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "proto/time.hpp"
#include "runtime/socket.hpp"

namespace flame::runtime {

class EventLoop {
 public:
  using TimerId = uint64_t;
  struct Ready {
    bool readable = false;  ///< also on hang-up and error: the read will say
    bool writable = false;
  };

  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  /// `handler` drains the socket up to a bound of its own; it is called again while something
  /// waits.
  void add_socket(Socket& socket, std::function<void()> handler);
  void remove_socket(Socket& socket);
  /// While false, what waits in the socket stays there and does not keep the loop awake.
  void set_enabled(Socket& socket, bool enabled);

  /// Watches a descriptor, level-triggered. The owner removes it before closing it.
  void add_fd(int fd, bool read, bool write, std::function<void(Ready)> handler);
  void change_fd(int fd, bool read, bool write);
  void remove_fd(int fd);

  /// Calls once at or after `mono_us`. A handler may add and cancel.
  TimerId call_at(int64_t mono_us, std::function<void()> handler);
  void cancel(TimerId id);

  /// Called at the end of every turn, when all that was ready has been handled: the place to act in
  /// one batch.
  void on_turn(std::function<void()> handler) { turn_ = std::move(handler); }

  /// Does not sleep before `mono_us`: trades CPU for the wake-up while an answer is known to be
  /// near.
  void spin_until(int64_t mono_us) { spin_until_ = mono_us; }

  /// The time of this turn.
  proto::Now now() const { return now_; }

  void run();
  /// One turn that sleeps at most `timeout_us` (-1: until something happens).
  void turn(int64_t timeout_us);
  /// run() returns after this turn.
  void stop() { stopped_ = true; }

 private:
  struct Watched {
    uint32_t generation;
    bool read, write;
    std::shared_ptr<std::function<void(Ready)>> handler;
  };
  struct WatchedSocket {
    Socket* socket;
    std::shared_ptr<std::function<void()>> handler;
    bool enabled = true;
  };

  bool handle_sockets();
  int64_t sleep_us(int64_t timeout_us) const;
  void handle_fds(int timeout_ms);
  void handle_timers();

  int epoll_;
  uint32_t next_generation_ = 1;
  std::unordered_map<int, Watched> fds_;
  std::vector<WatchedSocket> sockets_;
  std::map<std::pair<int64_t, TimerId>, std::function<void()>> timers_;
  std::unordered_map<TimerId, int64_t> timer_times_;
  TimerId next_timer_ = 1;
  std::function<void()> turn_;
  proto::Now now_;
  int64_t spin_until_ = 0;
  bool stopped_ = false;
};

}  // namespace flame::runtime

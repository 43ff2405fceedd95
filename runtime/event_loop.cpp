// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "runtime/event_loop.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "runtime/assert.hpp"
#include "runtime/clock.hpp"

namespace flame::runtime {

namespace {
uint32_t interest(bool read, bool write) { return (read ? EPOLLIN : 0u) | (write ? EPOLLOUT : 0u); }
uint64_t pack(int fd, uint32_t generation) {
  return static_cast<uint64_t>(generation) << 32 | static_cast<uint32_t>(fd);
}
}  // namespace

EventLoop::EventLoop() : epoll_(epoll_create1(EPOLL_CLOEXEC)), now_(read_clock()) {
  FLAME_ASSERT(epoll_ >= 0);
}
EventLoop::~EventLoop() { close(epoll_); }

void EventLoop::add_socket(Socket& socket, std::function<void()> handler) {
  sockets_.push_back({&socket, std::make_shared<std::function<void()>>(std::move(handler)), true});
  if (socket.fd() < 0) return;  // it could not be opened; its connect() or bind() says so
  // Only wakes the loop: whether a message waits is asked from the socket itself.
  add_fd(socket.fd(), true, false, [&socket](Ready) { socket.woken(); });
}

void EventLoop::remove_socket(Socket& socket) {
  remove_fd(socket.fd());
  std::erase_if(sockets_, [&](const WatchedSocket& watched) { return watched.socket == &socket; });
}

void EventLoop::set_enabled(Socket& socket, bool enabled) {
  for (auto& watched : sockets_) {
    if (watched.socket == &socket) watched.enabled = enabled;
  }
}

void EventLoop::add_fd(int fd, bool read, bool write, std::function<void(Ready)> handler) {
  uint32_t generation = next_generation_++;
  fds_[fd] = {generation, read, write,
              std::make_shared<std::function<void(Ready)>>(std::move(handler))};
  epoll_event event{};
  event.events = interest(read, write);
  event.data.u64 = pack(fd, generation);
  int failed = epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  FLAME_ASSERT(failed == 0);
}

void EventLoop::change_fd(int fd, bool read, bool write) {
  auto found = fds_.find(fd);
  FLAME_ASSERT(found != fds_.end());
  if (found->second.read == read && found->second.write == write) return;
  found->second.read = read;
  found->second.write = write;
  epoll_event event{};
  event.events = interest(read, write);
  event.data.u64 = pack(fd, found->second.generation);
  int failed = epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
  FLAME_ASSERT(failed == 0);
}

void EventLoop::remove_fd(int fd) {
  if (fds_.erase(fd) == 0) return;
  epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
}

EventLoop::TimerId EventLoop::call_at(int64_t mono_us, std::function<void()> handler) {
  TimerId id = next_timer_++;
  timers_.emplace(std::pair(mono_us, id), std::move(handler));
  timer_times_.emplace(id, mono_us);
  return id;
}

void EventLoop::cancel(TimerId id) {
  auto found = timer_times_.find(id);
  if (found == timer_times_.end()) return;
  timers_.erase({found->second, id});
  timer_times_.erase(found);
}

// True if a socket had something: the loop must then not sleep.
bool EventLoop::handle_sockets() {
  bool any = false;
  for (size_t i = 0; i < sockets_.size(); i++) {
    if (!sockets_[i].enabled || !sockets_[i].socket->readable()) continue;
    any = true;
    auto handler = sockets_[i].handler;  // it may remove itself
    (*handler)();
  }
  return any;
}

int64_t EventLoop::sleep_us(int64_t timeout_us) const {
  if (now_.mono_us < spin_until_) return 0;
  if (!timers_.empty()) {
    int64_t until = std::max<int64_t>(0, timers_.begin()->first.first - now_.mono_us);
    timeout_us = timeout_us < 0 ? until : std::min(timeout_us, until);
  }
  return timeout_us;
}

void EventLoop::handle_fds(int timeout_ms) {
  std::array<epoll_event, 64> events;
  int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout_ms);
  FLAME_ASSERT(count >= 0 || errno == EINTR);
  now_ = read_clock();
  for (int i = 0; i < count; i++) {
    int fd = static_cast<int>(events[i].data.u64 & UINT32_MAX);
    auto found = fds_.find(fd);
    // An earlier handler of this turn may have removed it, or even reused the number.
    if (found == fds_.end() || found->second.generation != events[i].data.u64 >> 32) continue;
    auto handler = found->second.handler;
    (*handler)({(events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0,
                (events[i].events & (EPOLLOUT | EPOLLERR)) != 0});
  }
}

void EventLoop::handle_timers() {
  // Those due now and no others: one that asks for "now" again gets it in the next turn, the rest
  // comes first.
  std::vector<TimerId> due;
  for (auto at = timers_.begin(); at != timers_.end() && at->first.first <= now_.mono_us; ++at) {
    due.push_back(at->first.second);
  }
  for (TimerId id : due) {
    auto time = timer_times_.find(id);
    if (time == timer_times_.end()) continue;  // cancelled by an earlier one
    auto node = timers_.extract({time->second, id});
    timer_times_.erase(time);
    node.mapped()();
  }
}

void EventLoop::turn(int64_t timeout_us) {
  // zmq's descriptors are edge-triggered: ask the sockets before sleeping.
  bool ready = std::any_of(sockets_.begin(), sockets_.end(), [](const WatchedSocket& watched) {
    return watched.socket->readable() && watched.enabled;
  });
  int64_t us = ready ? 0 : sleep_us(timeout_us);
  handle_fds(us < 0 ? -1 : static_cast<int>((us + 999) / 1000));
  handle_sockets();
  handle_timers();
  if (turn_) turn_();
}

void EventLoop::run() {
  while (!stopped_) turn(-1);
}

}  // namespace flame::runtime

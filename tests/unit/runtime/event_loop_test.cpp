// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "runtime/event_loop.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/clock.hpp"
#include "runtime/signals.hpp"

namespace flame::runtime {

namespace {

struct Pipe {
  int read_end, write_end;
  Pipe() {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    read_end = ends[0], write_end = ends[1];
  }
  ~Pipe() {
    close(read_end);
    close(write_end);
  }
  void put() { EXPECT_EQ(write(write_end, "x", 1), 1); }
  bool take() {
    char c;
    return read(read_end, &c, 1) == 1;
  }
};

// Turns until `done`, bounded, so that a broken loop fails instead of hanging.
template <class Done>
bool turn_until(EventLoop& loop, Done done) {
  int64_t give_up = read_clock().mono_us + 5 * proto::kUsPerSecond;
  while (!done()) {
    if (read_clock().mono_us > give_up) return false;
    loop.turn(10'000);
  }
  return true;
}

}  // namespace

TEST(EventLoop, TimersAreCalledInOrderOfTimeThenOfAsking) {
  EventLoop loop;
  std::string order;
  int64_t now = loop.now().mono_us;
  loop.call_at(now + 2, [&] { order += 'c'; });
  loop.call_at(now + 1, [&] { order += 'a'; });
  loop.call_at(now + 1, [&] { order += 'b'; });
  EXPECT_TRUE(turn_until(loop, [&] { return order.size() == 3; }));
  EXPECT_EQ(order, "abc");
}

TEST(EventLoop, ATimerIsNeverEarlyAndCalledOnce) {
  EventLoop loop;
  int64_t due = loop.now().mono_us + 3000, called_at = 0;
  int calls = 0;
  loop.call_at(due, [&] { called_at = loop.now().mono_us, calls++; });
  EXPECT_TRUE(turn_until(loop, [&] { return calls > 0; }));
  EXPECT_GE(called_at, due);
  loop.turn(0);
  EXPECT_EQ(calls, 1);
}

TEST(EventLoop, ATimerMayCancelAnotherThatIsDueInTheSameTurn) {
  EventLoop loop;
  bool cancelled_called = false, called = false;
  EventLoop::TimerId second = 0;
  loop.call_at(0, [&] {
    called = true;
    loop.cancel(second);
  });
  second = loop.call_at(0, [&] { cancelled_called = true; });
  loop.turn(0);
  EXPECT_TRUE(called);
  EXPECT_FALSE(cancelled_called);
  loop.cancel(second);  // again, and one that never was
  loop.cancel(12345);
}

TEST(EventLoop, ATimerThatAlwaysAsksForNowDoesNotHoldTheTurn) {
  EventLoop loop;
  int calls = 0;
  std::function<void()> again = [&] {
    if (++calls < 100) loop.call_at(loop.now().mono_us, again);
  };
  loop.call_at(0, again);
  loop.turn(0);
  EXPECT_EQ(calls, 1) << "the rest of the loop gets its turn in between";
  loop.turn(0);
  EXPECT_EQ(calls, 2);
}

TEST(EventLoop, DescriptorsAreLevelTriggered) {
  EventLoop loop;
  Pipe pipe;
  int calls = 0;
  loop.add_fd(pipe.read_end, true, false, [&](EventLoop::Ready ready) { calls += ready.readable; });
  loop.turn(0);
  EXPECT_EQ(calls, 0);
  pipe.put();
  loop.turn(0);
  loop.turn(0);
  EXPECT_EQ(calls, 2);
  EXPECT_TRUE(pipe.take());
  loop.turn(0);
  EXPECT_EQ(calls, 2);
  loop.remove_fd(pipe.read_end);
}

TEST(EventLoop, InterestInWritingIsSwitchedOnAndOff) {
  EventLoop loop;
  Pipe pipe;
  int writable = 0;
  loop.add_fd(pipe.write_end, false, true,
              [&](EventLoop::Ready ready) { writable += ready.writable; });
  loop.turn(0);
  EXPECT_EQ(writable, 1);
  loop.change_fd(pipe.write_end, false, false);
  loop.turn(0);
  EXPECT_EQ(writable, 1);
  loop.remove_fd(pipe.write_end);
}

TEST(EventLoop, ADescriptorRemovedByAnEarlierHandlerOfTheTurnIsNotCalled) {
  EventLoop loop;
  Pipe first, second;
  int calls = 0;
  // Whichever comes first removes both and closes over the numbers being reused.
  auto handler = [&](EventLoop::Ready) {
    calls++;
    loop.remove_fd(first.read_end);
    loop.remove_fd(second.read_end);
  };
  loop.add_fd(first.read_end, true, false, handler);
  loop.add_fd(second.read_end, true, false, handler);
  first.put(), second.put();
  loop.turn(0);
  loop.turn(0);
  EXPECT_EQ(calls, 1);
}

TEST(EventLoop, ANumberReusedInTheSameTurnIsNotTakenForTheOldOne) {
  EventLoop loop;
  Pipe first, second;
  int old_calls = 0, new_calls = 0;
  auto replace = [&](int fd) {
    old_calls++;
    for (int end : {first.read_end, second.read_end}) {
      if (end == fd) continue;
      loop.remove_fd(end);  // its event of this turn is still waiting in the list
      loop.add_fd(end, true, false, [&](EventLoop::Ready) { new_calls++; });
    }
  };
  loop.add_fd(first.read_end, true, false, [&](EventLoop::Ready) { replace(first.read_end); });
  loop.add_fd(second.read_end, true, false, [&](EventLoop::Ready) { replace(second.read_end); });
  first.put(), second.put();
  loop.turn(0);
  EXPECT_EQ(old_calls, 1);
  EXPECT_EQ(new_calls, 0) << "the new owner hears of it in the next turn";
  loop.remove_fd(first.read_end);
  loop.remove_fd(second.read_end);
}

TEST(EventLoop, AHandlerMayRemoveItself) {
  EventLoop loop;
  Pipe pipe;
  std::string captured = "lives until the call returns";
  loop.add_fd(pipe.read_end, true, false, [&loop, &pipe, captured](EventLoop::Ready) {
    loop.remove_fd(pipe.read_end);
    EXPECT_EQ(captured.size(), 28u);
  });
  pipe.put();
  loop.turn(0);
  loop.remove_fd(pipe.read_end);
}

TEST(EventLoop, SpinningDoesNotSleep) {
  EventLoop loop;
  int64_t begin = read_clock().mono_us;
  loop.spin_until(begin + 2000);
  int turns = 0;
  while (read_clock().mono_us < begin + 2000) loop.turn(-1), turns++;
  EXPECT_GT(turns, 1) << "turn(-1) would sleep for ever";
}

TEST(EventLoop, RunEndsAfterTheTurnThatStopsIt) {
  EventLoop loop;
  std::string order;
  loop.call_at(0, [&] {
    order += 's';
    loop.stop();
  });
  loop.on_turn([&] { order += 't'; });
  loop.run();
  EXPECT_EQ(order, "st");
}

TEST(Signals, BecomeCallsFromTheLoop) {
  EventLoop loop;
  std::vector<int> caught;
  Signals signals(loop, {SIGUSR1, SIGUSR2}, [&](int signal) { caught.push_back(signal); });
  loop.turn(0);
  EXPECT_TRUE(caught.empty());
  kill(getpid(), SIGUSR2);
  kill(getpid(), SIGUSR1);
  EXPECT_TRUE(turn_until(loop, [&] { return caught.size() == 2; }));
  EXPECT_EQ(caught, (std::vector<int>{SIGUSR1, SIGUSR2}))
      << "the kernel hands out the lowest first";
}

TEST(Signals, AWriteToAClosedPipeIsAnErrorNotTheEnd) {
  EventLoop loop;
  Signals signals(loop, {SIGUSR1}, [](int) {});
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  close(ends[1]);
  EXPECT_EQ(write(ends[0], "x", 1), -1);
  EXPECT_EQ(errno, EPIPE);
  close(ends[0]);
}

}  // namespace flame::runtime

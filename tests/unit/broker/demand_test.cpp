// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/demand.hpp"

#include <gmock/gmock.h>

#include "broker/core/executors.hpp"
#include "proto/codec.hpp"

namespace flame::broker {
namespace {

constexpr int64_t kSecond = proto::kUsPerSecond;

class DemandTest : public ::testing::Test {
 protected:
  DemandTest() {
    state_.health.writable = true;
    for (auto name : {"app", "other"}) state_.applications[name].name = name;
  }

  Session& session(proto::SessionUid uid, uint64_t pending, uint64_t running, uint64_t min = 0,
                   uint64_t max = 0, const char* application = "app") {
    auto& session = state_.sessions[uid];
    session = std::make_unique<Session>();
    session->spec.application = application;
    session->spec.min_instances = min;
    session->spec.max_instances = max;
    session->counters.pending = pending;
    session->counters.running = running;
    return *session;
  }
  /// `only`: the application that it serves, "" for any.
  Executor& executor(const std::string& id, size_t slots, const char* only = "") {
    Executor& executor = state_.executors[id];
    executor.id = id;
    executor.slots.resize(slots);
    executor.only_application = only;
    executor.worked_ms = now_.wall_ms();
    executor.dirty = false;
    return executor;
  }
  void works(Executor& executor, proto::SessionUid uid, uint64_t slots, uint64_t tasks) {
    Share& share = executor.shares[uid];
    share.slots_wanted = slots;
    share.tasks = tasks;
    for (uint64_t i = 1; i <= tasks; i++) {
      Hand hand;
      hand.run = {i, 1};
      hand.since_us = now_.mono_us;
      share.hands[i] = hand;
    }
  }
  void pass(int64_t us) {
    now_.mono_us += us;
    now_.wall_us += us;
  }
  /// What is written for one application now.
  proto::Value row(const std::string& name = "app") {
    pass(kSecond);
    state_.ops.clear();
    state_.demand_written.clear();
    write_demand(state_, now_);
    for (const auto& op : state_.ops) {
      auto put = std::get_if<PutDemand>(&op);
      if (put != nullptr && put->application == name) return *proto::decode_value(put->value);
    }
    ADD_FAILURE() << "nothing written for " << name;
    return {};
  }
  int64_t number(const proto::Value& row, const char* key) { return row.find(key)->number(-1); }
  double seconds(const proto::Value& row, const char* key = "run_seconds") {
    auto value = row.find(key);  // a whole number travels as an integer
    auto fraction = std::get_if<double>(&value->data);
    return fraction == nullptr ? static_cast<double>(value->number(-1)) : *fraction;
  }
  /// -1: no row was written.
  int64_t idle_written(const std::string& id) {
    pass(kSecond);
    state_.ops.clear();
    write_demand(state_, now_);
    for (const auto& op : state_.ops) {
      auto put = std::get_if<PutExecutor>(&op);
      if (put == nullptr || put->executor != id) continue;
      return proto::decode_value(put->value)->find("idle")->number();
    }
    return -1;
  }

  State state_;
  proto::Now now_{100 * kSecond, 1'000'000 * kSecond};
};

TEST_F(DemandTest, WhatCouldBeUsedHasTheLimitsOfSessionsAndApplication) {
  session(1, 10, 5);
  session(2, 10, 0, 0, 3);
  EXPECT_EQ(number(row(), "usable"), 18);
  EXPECT_EQ(number(row(), "pending"), 20);
  EXPECT_EQ(number(row(), "running"), 5);
  state_.applications["app"].max_instances = 7;
  EXPECT_EQ(number(row(), "usable"), 7);
}

TEST_F(DemandTest, MinimumsBeyondTheSessionsOwnTasksAreReserved) {
  session(1, 0, 1, 4);
  session(2, 10, 0, 2);
  session(3, 0, 0, 9, 5);
  EXPECT_EQ(number(row(), "minimum"), 11);
  EXPECT_EQ(number(row(), "reserved"), 8);
}

TEST_F(DemandTest, ASuspendedSessionUsesNothing) {
  session(1, 10, 0, 4).state = proto::SessionState::kSuspended;
  EXPECT_EQ(number(row(), "usable"), 0);
  EXPECT_EQ(number(row(), "minimum"), 0);
}

TEST_F(DemandTest, SlotsAreItsOwnAndTheSharedOnesThatOthersLeave) {
  session(1, 0, 2);
  session(2, 0, 3, 0, 0, "other");
  executor("any", 8);
  executor("own", 4, "app");
  executor("theirs", 16, "other");
  works(state_.executors["any"], 1, 1, 1);
  works(state_.executors["own"], 1, 1, 1);
  works(state_.executors["any"], 2, 3, 6);  // a window may be ahead of the slots
  EXPECT_EQ(number(row(), "shared"), 5);
  EXPECT_EQ(number(row(), "slots"), 9);
  EXPECT_EQ(number(row(), "busy"), 2);
  EXPECT_EQ(number(row("other"), "shared"), 7);
  EXPECT_EQ(number(row("other"), "slots"), 23);
  EXPECT_EQ(number(row("other"), "busy"), 3);
  state_.executors["own"].state = proto::ExecutorState::kDraining;
  EXPECT_EQ(number(row(), "slots"), 5);
}

TEST_F(DemandTest, TheRunTimeIsWhatThreeOfFourDoNotExceed) {
  EXPECT_EQ(seconds(row()), 0);
  for (int i = 0; i < 100; i++) state_.run_times["app"].add(i < 80 ? 1000 : 60 * kSecond, 1);
  session(1, 1000, 0);
  EXPECT_NEAR(seconds(row()), 0.001, 0.0002);
  EXPECT_NEAR(seconds(row(), "backlog_seconds"), 1, 0.2);
}

TEST_F(DemandTest, WhatRunsForLongAlreadyCountsBeforeItHasFinished) {
  session(1, 10, 2);
  works(executor("a", 2), 1, 2, 2);
  EXPECT_EQ(seconds(row()), 0) << "a second shows nothing";
  pass(59 * kSecond);
  EXPECT_NEAR(seconds(row()), 60, 12);
  state_.run_times["app"].add(45 * kSecond, 10);  // and finished ones know better
  EXPECT_NEAR(seconds(row()), 45, 9);
}

TEST_F(DemandTest, OneThatHasNoTaskForASecondIsIdleSinceItsLast) {
  session(1, 0, 1);
  Executor& a = executor("a", 1);
  works(a, 1, 1, 1);
  EXPECT_EQ(idle_written("a"), -1);
  int64_t worked_ms = now_.wall_ms();
  a.shares[1].tasks = 0;
  EXPECT_EQ(idle_written("a"), worked_ms);
  EXPECT_EQ(idle_written("a"), -1) << "said once";
  a.shares[1].tasks = 1;
  EXPECT_EQ(idle_written("a"), 0);
}

TEST(RunTimes, OlderTasksFadeWithNewerOnes) {
  RunTimes times;
  times.add(60 * kSecond, 500);
  times.add(1000, 100);
  EXPECT_NEAR(static_cast<double>(times.quantile_us(0.75)), 60e6, 12e6);
  for (int i = 0; i < 100; i++) times.add(1000, 100);
  EXPECT_NEAR(static_cast<double>(times.quantile_us(0.75)), 1000, 200);
}

TEST(RunTimes, AnyNumberOfTasksLeavesItExact) {
  RunTimes times;
  for (int i = 0; i < 10'000; i++) times.add(i % 4 == 0 ? 100'000 : 1000, 1024);
  EXPECT_NEAR(static_cast<double>(times.quantile_us(0.5)), 1000, 200);
  EXPECT_NEAR(static_cast<double>(times.quantile_us(0.99)), 100'000, 20'000);
}

TEST(RunTimes, NothingAndTheAbsurdHaveAPlace) {
  RunTimes times;
  EXPECT_EQ(times.quantile_us(0.75), 0);
  times.add(0, 1);
  EXPECT_EQ(times.quantile_us(0.75), 1);
  times.add(INT64_MAX, 100);
  EXPECT_GT(times.quantile_us(0.75), 3600 * kSecond);
}

}  // namespace
}  // namespace flame::broker

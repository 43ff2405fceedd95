// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/core/wants.hpp"

#include <gmock/gmock.h>

#include <numeric>
#include <random>

#include "tests/unit/autoscaler/times.hpp"

namespace flame::autoscaler {
namespace {

using ::testing::ElementsAre;

constexpr int64_t kTarget = 10 * kS;

Demand tasks(uint64_t pending, uint64_t running = 0) {
  return {.pending = pending, .running = running, .usable = pending + running};
}
uint64_t slots(const Demand& demand, int64_t run_us, uint64_t ready = 0, int64_t cold_us = 0) {
  return slots_for(demand, run_us, kTarget, ready, cold_us);
}

TEST(SlotsFor, AHundredTasksOfAMillisecondAreWorkForOneSlot) {
  EXPECT_EQ(slots(tasks(100), kMs), 1u);
}

TEST(SlotsFor, AHundredTasksOfAnHourAreWorkForAHundredSlots) {
  EXPECT_EQ(slots(tasks(100), 3600 * kS), 100u);
}

TEST(SlotsFor, NothingIsWorkForNone) { EXPECT_EQ(slots({}, kS), 0u); }

TEST(SlotsFor, TheBacklogIsDoneWithinTheTarget) {
  EXPECT_EQ(slots(tasks(400), 500 * kMs), 20u);
  EXPECT_EQ(slots(tasks(401), 500 * kMs), 21u);
}

TEST(SlotsFor, ASlotDoesWholeTasks) {
  EXPECT_EQ(slots(tasks(12), 5 * kS), 6u);
  EXPECT_EQ(slots(tasks(12), 6 * kS), 12u);  // the second one of a slot would end at 12 s
  EXPECT_EQ(slots(tasks(12), 4 * kS, 3, 3 * kS), 3u + 6u);  // two each by 10 s, one each by 7
}

TEST(SlotsFor, WhatRunsIsWorkToo) {
  EXPECT_EQ(slots(tasks(5, 8), 60 * kS), 13u);
  EXPECT_EQ(slots(tasks(0, 8), 60 * kS), 8u);
}

TEST(SlotsFor, WhatIsBusyStaysHoweverShortTheTasksSeem) {
  Demand demand = tasks(0, 8);
  demand.busy = 8;
  EXPECT_EQ(slots(demand, kMs), 8u);
}

TEST(SlotsFor, NeverMoreThanSessionsMayHave) {
  Demand demand = tasks(100);
  demand.usable = 7;  // max_instances
  EXPECT_EQ(slots(demand, 3600 * kS), 7u);
}

TEST(SlotsFor, MinInstancesAreKeptWithoutTasks) {
  Demand demand;
  demand.minimum = demand.reserved = 4;
  EXPECT_EQ(slots(demand, kS), 4u);
}

TEST(SlotsFor, MinInstancesOfOneSessionAreNoRoomForAnothersTasks) {
  Demand demand = tasks(10);  // of one session; another holds four
  demand.minimum = demand.reserved = 4;
  EXPECT_EQ(slots(demand, 3600 * kS), 14u);
}

TEST(SlotsFor, MinInstancesThatTasksUseAreNotAddedToThem) {
  Demand demand = tasks(10);
  demand.minimum = 4;  // all used by its own tasks: nothing reserved beyond
  EXPECT_EQ(slots(demand, 3600 * kS), 10u);
}

TEST(SlotsFor, WhatStartsLateHasLessTime) {
  EXPECT_EQ(slots(tasks(100), kS, 0, 0), 10u);
  EXPECT_EQ(slots(tasks(100), kS, 0, 2 * kS), 13u);  // 100 s of work in 8 s
  EXPECT_EQ(slots(tasks(100), kS, 5, 2 * kS), 12u);  // 50 s are done by those that are there
  EXPECT_EQ(slots(tasks(100), kS, 10, 2 * kS), 10u);
}

TEST(SlotsFor, AStartAsLongAsTheTargetDoublesAtMost) {
  EXPECT_EQ(slots(tasks(100), kS, 0, 60 * kS), 20u);
}

TEST(ExecutorsFor, SlotsArePacked) {
  EXPECT_EQ(executors_for(1, {}, 4, 0), 1u);
  EXPECT_EQ(executors_for(4, {}, 4, 0), 1u);
  EXPECT_EQ(executors_for(5, {}, 4, 0), 2u);
}

TEST(ExecutorsFor, SharedSlotsComeFirst) {
  Demand demand;
  demand.shared = 4;
  EXPECT_EQ(executors_for(4, demand, 4, 0), 0u);
  EXPECT_EQ(executors_for(5, demand, 4, 0), 1u);
}

TEST(ExecutorsFor, SparesAreForThoseWhoWork) {
  EXPECT_EQ(executors_for(4, {}, 4, 2), 3u);
  EXPECT_EQ(executors_for(0, {}, 4, 2), 0u);
}

TEST(WaterFill, WishesThatFitAreGiven) {
  EXPECT_THAT(water_fill({{0, 3}, {0, 5}}, 10), ElementsAre(3, 5));
}

TEST(WaterFill, TheSmallAreServedTheLargeShareTheRest) {
  EXPECT_THAT(water_fill({{0, 2}, {0, 50}, {0, 50}}, 12), ElementsAre(2, 5, 5));
}

TEST(WaterFill, MinimumsComeFirstAndCountTowardsTheLevel) {
  EXPECT_THAT(water_fill({{6, 10}, {0, 10}}, 8), ElementsAre(6, 2));
  EXPECT_THAT(water_fill({{6, 10}, {0, 10}}, 14), ElementsAre(7, 7));
}

TEST(WaterFill, AMinimumIsNoMoreThanTheWish) {
  EXPECT_THAT(water_fill({{6, 1}, {0, 10}}, 8), ElementsAre(1, 7));
}

TEST(WaterFill, HugeNumbersTakeNoLonger) {
  EXPECT_THAT(water_fill({{0, UINT64_MAX}, {0, 3}}, UINT64_MAX), ElementsAre(UINT64_MAX - 3, 3));
}

TEST(WaterFill, GivesAllThereIsAndNoMore) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 2000; round++) {
    std::vector<Wish> wishes(random() % 6);
    uint64_t wished = 0;
    for (auto& wish : wishes) wish = {random() % 8, random() % 20}, wished += wish.wanted;
    uint64_t total = random() % 60;
    auto shares = water_fill(wishes, total);
    ASSERT_EQ(std::accumulate(shares.begin(), shares.end(), uint64_t{0}), std::min(total, wished));
    for (size_t i = 0; i < wishes.size(); i++) {
      ASSERT_LE(shares[i], wishes[i].wanted);
      for (size_t k = 0; k < wishes.size(); k++) {
        // Nobody who wants more stands two below another, unless that has it as a minimum.
        bool wants = shares[i] < wishes[i].wanted;
        ASSERT_FALSE(wants && shares[k] > shares[i] + 1 && shares[k] > wishes[k].min) << round;
      }
    }
  }
}

TEST(FillUp, WhatIsWantedMayBeEnough) {
  EXPECT_THAT(fill_up({{3, 0, 9}, {2, 0, 9}}, 5), ElementsAre(3, 2));
  EXPECT_THAT(fill_up({}, 5), ::testing::IsEmpty());
}

TEST(FillUp, FirstWhatIsThereThenTheLowest) {
  EXPECT_THAT(fill_up({{0, 0, 9}, {0, 3, 9}}, 2), ElementsAre(0, 2));
  EXPECT_THAT(fill_up({{0, 0, 9}, {0, 3, 9}}, 5), ElementsAre(2, 3));
  EXPECT_THAT(fill_up({{4, 4, 9}, {0, 0, 9}, {0, 0, 9}}, 7), ElementsAre(4, 2, 1));
}

TEST(FillUp, NeverAboveTheMaximums) {
  EXPECT_THAT(fill_up({{0, 7, 2}, {1, 1, 1}}, 9), ElementsAre(2, 1));
  EXPECT_THAT(fill_up({{0, 0, UINT64_MAX}, {0, 0, 0}}, 9), ElementsAre(9, 0));
}

}  // namespace
}  // namespace flame::autoscaler

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// The pure function that says which session each slot serves: who gets how many, and who waits.
#include "broker/core/scheduler.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "proto/limits.hpp"
#include "proto/time.hpp"

namespace flame::broker {
namespace {

using testing::Each;
using testing::ElementsAre;

constexpr int64_t kNow = 1'000'000'000;
constexpr int64_t kQuantum = int64_t{proto::kQuantumUs};

PlanSession session(proto::SessionUid uid, uint64_t wanted, uint64_t min = 0) {
  return {.uid = uid, .application = "app", .wanted = wanted, .min = min};
}

/// Slots that serve these sessions with tasks in hand; 0: nobody, and never did.
std::vector<PlanSlot> slots_of(const std::vector<proto::SessionUid>& uids) {
  std::vector<PlanSlot> slots;
  for (auto uid : uids) {
    slots.push_back({.executor = slots.size(),
                     .wanted = uid,
                     .application = uid == 0 ? "" : "app",
                     .busy = uid != 0});
  }
  return slots;
}
std::vector<PlanSlot> free_slots(size_t count) {
  return slots_of(std::vector<proto::SessionUid>(count, 0));
}

std::map<proto::SessionUid, uint64_t> shares_of(const Plan& plan) {
  std::map<proto::SessionUid, uint64_t> shares;
  for (auto uid : plan.wanted) shares[uid]++;
  return shares;
}
using Shares = std::map<proto::SessionUid, uint64_t>;

void serve(std::vector<PlanSlot>& slots, const Plan& plan) {
  for (size_t i = 0; i < slots.size(); i++) slots[i].wanted = plan.wanted[i];
}

TEST(Scheduler, SlotsAreSharedEquallyAmongThoseWhoHaveTasks) {
  auto plan = plan_slots({session(1, 100), session(2, 100), session(3, 100)}, free_slots(9), kNow);
  EXPECT_EQ(shares_of(plan), (Shares{{1, 3}, {2, 3}, {3, 3}}));
}

TEST(Scheduler, WhatOneCannotUseGoesToTheOthers) {
  auto plan = plan_slots({session(1, 1), session(2, 100), session(3, 3)}, free_slots(10), kNow);
  EXPECT_EQ(shares_of(plan), (Shares{{1, 1}, {2, 6}, {3, 3}}));
}

TEST(Scheduler, NobodyHasMoreThanItsTasksAndLimitsAllow) {
  auto plan = plan_slots({session(1, 2)}, free_slots(5), kNow);
  EXPECT_EQ(shares_of(plan), (Shares{{0, 3}, {1, 2}}));
}

TEST(Scheduler, MinimumsOfSessionsWithTasksComeFirst) {
  auto plan = plan_slots({session(1, 100), session(2, 6, 6)}, free_slots(8), kNow);
  EXPECT_EQ(shares_of(plan), (Shares{{1, 2}, {2, 6}}));
}

TEST(Scheduler, AnApplicationsLimitHoldsForAllItsSessionsTogether) {
  auto one = session(1, 100), two = session(2, 100), other = session(3, 100);
  one.application_max = two.application_max = 3;
  other.application = "other";
  auto shares = shares_of(plan_slots({one, two, other}, free_slots(9), kNow));
  EXPECT_EQ(shares[1] + shares[2], 3u);
  EXPECT_EQ(shares[3], 6u);
}

TEST(Scheduler, ANewSessionNeverWaitsBehindAnothersBacklog) {
  auto slots = slots_of({1, 1, 1, 1});
  auto plan = plan_slots({session(1, 1'000'000), session(2, 10)}, slots, kNow);
  EXPECT_EQ(shares_of(plan), (Shares{{1, 2}, {2, 2}}));
  serve(slots, plan);
  plan = plan_slots({session(1, 1'000'000)}, slots, kNow);
  EXPECT_THAT(plan.wanted, Each(1u)) << "and gives back what it had";
}

TEST(Scheduler, NoSlotMovesWhereNobodyGains) {
  std::vector<PlanSession> sessions = {session(1, 100), session(2, 100)};
  auto slots = slots_of({2, 1, 2, 1});
  EXPECT_THAT(plan_slots(sessions, slots, kNow).wanted, ElementsAre(2u, 1u, 2u, 1u));
  std::reverse(sessions.begin(), sessions.end());
  EXPECT_THAT(plan_slots(sessions, slots, kNow).wanted, ElementsAre(2u, 1u, 2u, 1u));
}

TEST(Scheduler, OfMoreSessionsThanSlotsThoseServedLeastComeFirst) {
  std::vector<PlanSession> sessions;
  for (proto::SessionUid uid = 1; uid <= 5; uid++) {
    sessions.push_back(session(uid, 10));
    sessions.back().served_us = static_cast<int64_t>(100 - uid);
  }
  EXPECT_EQ(shares_of(plan_slots(sessions, free_slots(2), kNow)), (Shares{{4, 1}, {5, 1}}));
}

TEST(Scheduler, ABoundSessionYieldsAfterItsQuantumAndNotBefore) {
  auto served = session(1, 10), waiting = session(2, 10);
  served.served_us = 5'000'000;
  served.bound_us = kNow;
  auto slots = slots_of({1});
  auto plan = plan_slots({served, waiting}, slots, kNow + kQuantum - 1);
  EXPECT_THAT(plan.wanted, ElementsAre(1u));
  EXPECT_EQ(plan.look_again_us, kNow + kQuantum);
  EXPECT_THAT(plan_slots({served, waiting}, slots, plan.look_again_us).wanted, ElementsAre(2u));
  EXPECT_EQ(plan_slots({served}, slots, kNow).look_again_us, 0) << "nobody waits";
}

TEST(Scheduler, AnIdleInstanceStaysForItsTimeUnlessAnotherWantsTheSlot) {
  auto idle = session(1, 0);
  idle.linger_until_us = kNow + 60 * proto::kUsPerSecond;
  auto slots = slots_of({1, 0});
  slots[0].busy = false;
  auto plan = plan_slots({idle}, slots, kNow);
  EXPECT_THAT(plan.wanted, ElementsAre(1u, 0u));
  EXPECT_THAT(plan.spare, Each(true));
  EXPECT_EQ(plan.look_again_us, idle.linger_until_us);
  EXPECT_THAT(plan_slots({idle}, slots, idle.linger_until_us).wanted, ElementsAre(0u, 0u));
  plan = plan_slots({idle, session(2, 1)}, slots, kNow);
  EXPECT_THAT(plan.wanted, ElementsAre(1u, 2u)) << "a free slot is taken first";
  plan = plan_slots({idle, session(2, 2)}, slots, kNow);
  EXPECT_THAT(plan.wanted, ElementsAre(2u, 2u));
}

TEST(Scheduler, AWarmProcessOfTheApplicationIsTakenBeforeAFreshOne) {
  auto slots = free_slots(3);
  slots[1].application = "app";
  EXPECT_THAT(plan_slots({session(7, 1)}, slots, kNow).wanted, ElementsAre(0u, 7u, 0u));
}

TEST(Scheduler, AnExecutorOfOneApplicationServesNoOther) {
  auto slots = free_slots(3);
  slots[0].only_application = slots[1].only_application = "other";
  auto other = session(2, 1);
  other.application = "other";
  auto plan = plan_slots({session(1, 10), other}, slots, kNow);
  EXPECT_EQ(shares_of(plan), (Shares{{0, 1}, {1, 1}, {2, 1}}));
  EXPECT_EQ(plan.wanted[2], 1u) << "the slot that both could use";
}

TEST(Scheduler, TenThousandExecutorsAreSharedInOnePlan) {
  std::vector<PlanSession> sessions;
  for (proto::SessionUid uid = 1; uid <= 100; uid++) sessions.push_back(session(uid, 1'000'000));
  auto slots = free_slots(10'000);
  auto plan = plan_slots(sessions, slots, kNow);
  for (const auto& [uid, count] : shares_of(plan)) EXPECT_EQ(count, 100u) << uid;
  serve(slots, plan);
  EXPECT_EQ(plan_slots(sessions, slots, kNow).wanted, plan.wanted);
}

// ---- whatever there is
// ------------------------------------------------------------------------------------------

struct Scene {
  std::vector<PlanSession> sessions;
  std::vector<PlanSlot> slots;
};

Scene draw(uint64_t seed) {
  std::mt19937_64 random(seed);
  auto below = [&](uint64_t n) { return random() % n; };
  Scene scene;
  const char* names[] = {"a", "b", "c"};
  uint64_t limits[] = {1 + below(4), 1 + below(30), UINT64_MAX};
  for (proto::SessionUid uid = 1; uid <= below(12); uid++) {
    auto& made = scene.sessions.emplace_back(session(uid, below(9)));
    size_t of = below(3);
    made.application = names[of];
    made.application_max = limits[of];
    made.served_us = static_cast<int64_t>(below(3));
    if (below(2) == 0) made.bound_us = kNow - static_cast<int64_t>(below(2 * kQuantum));
    if (below(3) == 0) made.linger_until_us = kNow + static_cast<int64_t>(below(3)) - 1;
  }
  for (uint64_t i = below(20); i > 0; i--) {
    PlanSlot slot{.executor = below(5), .busy = below(2) == 0};
    if (below(3) == 0) slot.only_application = names[below(3)];
    size_t of = below(scene.sessions.size() + 1);
    if (of < scene.sessions.size() && (slot.only_application.empty() ||
                                       slot.only_application == scene.sessions[of].application)) {
      slot.wanted = scene.sessions[of].uid;
      slot.application = scene.sessions[of].application;
    }
    scene.slots.push_back(slot);
  }
  return scene;
}

const PlanSession* find(const Scene& scene, proto::SessionUid uid) {
  for (const auto& each : scene.sessions) {
    if (each.uid == uid) return &each;
  }
  return nullptr;
}

TEST(Scheduler, WhateverThereIsNoLimitIsPassedAndNoSlotIsIdleThatSomebodyCouldUse) {
  for (uint64_t seed = 1; seed <= 5000; seed++) {
    SCOPED_TRACE(seed);
    Scene scene = draw(seed);
    Plan plan = plan_slots(scene.sessions, scene.slots, kNow);
    ASSERT_EQ(plan.wanted.size(), scene.slots.size());
    std::map<proto::SessionUid, uint64_t> needed;
    std::map<std::string, uint64_t> of_application;
    for (size_t i = 0; i < plan.wanted.size(); i++) {
      if (plan.wanted[i] == 0) continue;
      const PlanSession* owner = find(scene, plan.wanted[i]);
      ASSERT_NE(owner, nullptr);
      const auto& only = scene.slots[i].only_application;
      ASSERT_TRUE(only.empty() || only == owner->application);
      of_application[owner->application]++;
      if (!plan.spare[i]) needed[owner->uid]++;
    }
    for (const auto& each : scene.sessions) {
      ASSERT_LE(needed[each.uid], each.wanted);
      ASSERT_LE(of_application[each.application], each.application_max);
      bool hungry =
          needed[each.uid] < each.wanted && of_application[each.application] < each.application_max;
      for (size_t i = 0; hungry && i < plan.wanted.size(); i++) {
        const auto& only = scene.slots[i].only_application;
        bool fits = only.empty() || only == each.application;
        ASSERT_FALSE(fits && plan.spare[i]) << each.uid << " could use slot " << i;
      }
    }
    ASSERT_EQ(plan_slots(scene.sessions, scene.slots, kNow).wanted, plan.wanted);
  }
}

}  // namespace
}  // namespace flame::broker

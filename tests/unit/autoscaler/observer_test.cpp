// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/core/observer.hpp"

#include <gmock/gmock.h>

#include "tests/unit/autoscaler/times.hpp"

namespace flame::autoscaler {
namespace {

using proto::Code;
using proto::Error;
using proto::Map;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ObserverTest : public ::testing::Test {
 protected:
  ObserverTest() {
    stored_.owner_ttl_ms = 4000;
    demand({{"pending", 3}, {"sessions", 1}, {"updated", 1}});
  }
  void demand(Map row) { stored_.demand["app"] = std::move(row); }
  void executor(const std::string& id, int64_t idle, const std::string& state = "Connected",
                const std::string& application = "app") {
    stored_.executors[id] =
        Map{{"state", state}, {"slots", 2}, {"idle", idle}, {"application", application}};
  }
  Observation look(int64_t after_us = 0) {
    now_.mono_us += after_us;
    return observer_.observe(stored_, provided_, now_);
  }
  Member only() {
    auto seen = look();
    EXPECT_EQ(seen.members.size(), 1u);
    return seen.members.empty() ? Member{} : seen.members[0];
  }

  proto::Now now_{1000 * kS, 0};
  Stored stored_;
  std::vector<Provided> provided_;
  Observer observer_;
};

TEST_F(ObserverTest, WhatIsFreshFreezesNothing) {
  auto seen = look();
  EXPECT_EQ(seen.frozen, "");
  EXPECT_EQ(seen.demand.at("app"), (Demand{.pending = 3}));
}

TEST_F(ObserverTest, AFailedReadFreezesAndKeepsTheLastFigures) {
  look();
  auto seen = observer_.observe(Error{Code::kStoreDown, "Redis is away"}, provided_, now_);
  EXPECT_EQ(seen.frozen, "Redis is away");
  EXPECT_EQ(seen.demand.at("app").pending, 3u);
  seen = observer_.observe(stored_, Error{Code::kNoBroker, "the list is cut"}, now_);
  EXPECT_EQ(seen.frozen, "the list is cut");
  EXPECT_EQ(look().frozen, "");
}

TEST_F(ObserverTest, TheDemandIsShownWhileTheProviderIsAway) {
  auto seen = observer_.observe(stored_, Error{Code::kNoBroker, "the list is cut"}, now_);
  EXPECT_EQ(seen.frozen, "the list is cut");
  EXPECT_EQ(seen.demand.at("app").pending, 3u);
  EXPECT_TRUE(seen.members.empty());
}

TEST_F(ObserverTest, AnApplicationMaySayHowManySlotsItsExecutorsHave) {
  EXPECT_EQ(look().demand.at("app").slots, 0u);
  stored_.applications["app"] = Map{{"kubernetes", Map{{"slots", 8}}}};
  EXPECT_EQ(look().demand.at("app").slots, 8u);
  stored_.applications["app"] = Map{{"kubernetes", "nonsense"}};
  EXPECT_EQ(look().demand.at("app").slots, 0u);
}

TEST_F(ObserverTest, WithoutABrokerTheFiguresAreNobodys) {
  stored_.owner_ttl_ms = -2;
  EXPECT_THAT(look().frozen, HasSubstr("no broker"));
}

TEST_F(ObserverTest, FiguresThatNoLongerChangeAreOldByOurOwnClock) {
  EXPECT_EQ(look().demand.at("app").stale, "");
  EXPECT_EQ(look(5 * kS).demand.at("app").stale, "");
  EXPECT_THAT(look(kS).demand.at("app").stale, HasSubstr("6 s old"));
  demand({{"pending", 3}, {"sessions", 1}, {"updated", 2}});
  EXPECT_EQ(look().demand.at("app").stale, "");
}

TEST_F(ObserverTest, WithoutOpenSessionsFiguresAreGoodAsLongAsTheBrokerLives) {
  demand({{"pending", 0}, {"sessions", 0}, {"updated", 1}});
  look();
  EXPECT_EQ(look(3600 * kS).demand.at("app").stale, "");
}

TEST_F(ObserverTest, RunTimesTravelAsFractionsAndAsWholeNumbers) {
  demand({{"run_seconds", 0.5}});
  EXPECT_EQ(look().demand.at("app").run_us, 500 * kMs);
  demand({{"run_seconds", 60}});
  EXPECT_EQ(look().demand.at("app").run_us, 60 * kS);
}

TEST_F(ObserverTest, AProvidedOneStartsUntilTheBrokerKnowsIt) {
  provided_ = {{.id = "a", .application = "app"}};
  int64_t asked_us = now_.mono_us;
  look();
  now_.mono_us += 3 * kS;
  EXPECT_EQ(only(), (Member{.id = "a", .application = "app", .asked_us = asked_us}));
  executor("a", 0);
  EXPECT_EQ(
      only(),
      (Member{.id = "a", .application = "app", .slots = 2, .state = MemberState::kRegistered}));
  executor("a", 0, "Lost");
  EXPECT_EQ(only().state, MemberState::kStarting);
  EXPECT_EQ(only().asked_us, now_.mono_us) << "it has its time to come back";
}

TEST_F(ObserverTest, ItIsIdleForAsLongAsWeHaveSeenIt) {
  provided_ = {{.id = "a", .application = "app"}};
  executor("a", 123);
  EXPECT_EQ(only().idle_us, 1) << "idle, and how long we do not know";
  now_.mono_us += 4 * kS;
  EXPECT_EQ(only().idle_us, 4 * kS);
  executor("a", 125);  // it worked between two looks
  EXPECT_EQ(only().idle_us, 1);
  executor("a", 0);
  EXPECT_EQ(only().idle_us, 0);
}

TEST_F(ObserverTest, OneThatLeavesIsNoCapacity) {
  provided_ = {{.id = "a", .application = "app"},
               {.id = "b", .application = "app", .leaving = true}};
  executor("a", 5, "Draining");
  executor("b", 5);
  for (const auto& member : look().members) EXPECT_EQ(member.state, MemberState::kLeaving);
}

TEST_F(ObserverTest, WhatTheBrokerHoldsIsNoCapacity) {
  provided_ = {{.id = "a", .application = "app"}};
  auto held = [&](const std::string& hold, const std::string& state) {
    executor("a", 5, state);
    std::get<Map>(stored_.executors["a"].data).emplace_back("hold", hold);
    return only().state;
  };
  EXPECT_EQ(held("drained", "Connected"), MemberState::kDrained);
  EXPECT_EQ(held("drained", "Lost"), MemberState::kDrained) << "a container that is started again";
  EXPECT_EQ(held("drained", "Left"), MemberState::kLeaving) << "a process that ends just now";
  EXPECT_EQ(held("cordoned", "Connected"), MemberState::kLeaving) << "an operator's, not ours";
  EXPECT_EQ(held("drained", "Connected"), MemberState::kDrained);
  std::get<Map>(stored_.executors["a"].data).emplace_back("tasks", 1);
  EXPECT_EQ(only().state, MemberState::kLeaving) << "an operator drained it at work: it finishes";
  provided_.clear();
  executor("theirs", 5);
  std::get<Map>(stored_.executors["theirs"].data).emplace_back("hold", "cordoned");
  EXPECT_THAT(look().members, IsEmpty());
}

TEST_F(ObserverTest, WhatRestsIsNoCapacityAndItsWorkIsSeen) {
  provided_ = {{.id = "a", .application = "app"}};
  executor("a", 0);
  auto& row = std::get<Map>(stored_.executors["a"].data);
  row.emplace_back("hold", "resting");
  row.emplace_back("tasks", 3);
  EXPECT_EQ(only(), (Member{.id = "a",
                            .application = "app",
                            .slots = 2,
                            .state = MemberState::kResting,
                            .tasks = 3}));
}

TEST_F(ObserverTest, WhyOneDoesNotStartIsTakenOver) {
  provided_ = {{.id = "a", .application = "app", .exits = 2, .trouble = "exited with code 1"}};
  EXPECT_EQ(only().exits, 2u);
  EXPECT_EQ(only().trouble, "exited with code 1");
  executor("a", 0);
  EXPECT_EQ(only().exits, 0u) << "it came up in the end";
}

TEST_F(ObserverTest, ExecutorsOfOthersAreMembersIfTheyServeOneApplication) {
  executor("theirs", 9);
  executor("shared", 9, "Connected", "");
  executor("left", 9, "Left");
  EXPECT_EQ(only(), (Member{.id = "theirs",
                            .application = "app",
                            .slots = 2,
                            .state = MemberState::kRegistered,
                            .owned = false}));
}

TEST_F(ObserverTest, WhatIsGoneIsForgotten) {
  provided_ = {{.id = "a", .application = "app"}};
  look();
  provided_.clear();
  EXPECT_THAT(look(20 * kS).members, IsEmpty());
  provided_ = {{.id = "a", .application = "app"}};
  EXPECT_EQ(only().asked_us, now_.mono_us) << "another one of that name";
}

}  // namespace
}  // namespace flame::autoscaler

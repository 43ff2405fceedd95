// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Each rule of the policy as a small story: demand and executors as they are, time passes, what is
// decided.
#include <gmock/gmock.h>

#include "autoscaler/core/scaler.hpp"
#include "tests/unit/autoscaler/times.hpp"

namespace flame::autoscaler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class PolicyTest : public ::testing::Test {
 protected:
  void begin(const Policy& policy) {
    scaler_.emplace(policy, now_);
    pass(policy.stabilization_us);  // past the first time, in which nothing shrinks
  }
  void SetUp() override { begin({}); }

  void pass(int64_t us) {
    now_.mono_us += us;
    for (auto& member : seen_.members) {
      if (member.idle_us > 0) member.idle_us += us;
    }
  }
  Demand& demand(const std::string& name = "app") { return seen_.demand[name]; }
  void tasks(uint64_t pending, uint64_t running = 0, int64_t run_us = 3600 * kS) {
    tasks_of("app", pending, running, run_us);
  }
  void tasks_of(const std::string& name, uint64_t pending, uint64_t running = 0,
                int64_t run_us = 3600 * kS) {
    demand(name) = {.pending = pending,
                    .running = running,
                    .busy = running,
                    .usable = pending + running,
                    .run_us = run_us};
  }
  Member& member(const std::string& id, MemberState state, const std::string& application = "app") {
    for (auto& known : seen_.members) {
      if (known.id == id) return known.state = state, known;
    }
    seen_.members.push_back({.id = id,
                             .application = application,
                             .slots = scaler_->policy().slots,
                             .state = state,
                             .asked_us = now_.mono_us});
    return seen_.members.back();
  }
  void busy(const std::string& id, const std::string& application = "app") {
    member(id, MemberState::kRegistered, application).idle_us = 0;
  }
  void idle(const std::string& id, int64_t us = 3600 * kS, const std::string& application = "app") {
    member(id, MemberState::kRegistered, application).idle_us = us;
  }
  void starting(const std::string& id) { member(id, MemberState::kStarting); }
  void gone(const std::string& id) {
    std::erase_if(seen_.members, [&](const auto& member) { return member.id == id; });
  }

  Decision decide(const std::string& name = "app") {
    for (auto& decision : scaler_->decide(seen_, now_)) {
      if (decision.application == name) return decision;
    }
    ADD_FAILURE() << "no decision about " << name;
    return {};
  }
  void expect_nothing(Reason reason, const std::string& name = "app") {
    auto decision = decide(name);
    EXPECT_EQ(decision.reason, reason) << explain(decision);
    EXPECT_FALSE(decision.acts()) << explain(decision);
  }

  proto::Now now_{1000 * kS, 0};
  Observation seen_;
  std::optional<Scaler> scaler_;
};

// ---- up
// ----------------------------------------------------------------------------------------

TEST_F(PolicyTest, AHundredTasksOfAMillisecondWantNothingBeyondTheFirstExecutor) {
  tasks(100, 0, kMs);
  EXPECT_EQ(decide().add, 1u);
  busy("a");
  expect_nothing(Reason::kSteady);
}

TEST_F(PolicyTest, AHundredTasksOfAnHourWantAHundredSlotsAtOnce) {
  tasks(100);
  EXPECT_EQ(decide().add, 100u);
}

TEST_F(PolicyTest, AnApplicationsOwnSlotsCount) {
  tasks(100);
  demand().slots = 16;
  EXPECT_EQ(decide().add, 7u);
  EXPECT_EQ(decide().slots, 16u);
}

TEST_F(PolicyTest, UntilARunTimeIsKnownThePriorIsTaken) {
  tasks(100, 0, 0);
  auto decision = decide();
  EXPECT_EQ(decision.add, 10u);  // 1 s each, 10 s to do them in
  EXPECT_THAT(explain(decision), HasSubstr("1 s each (not measured yet)"));
}

TEST_F(PolicyTest, TheFirstTaskComesBackFromZero) {
  tasks(0);
  expect_nothing(Reason::kSteady);
  tasks(1, 0, kMs);
  EXPECT_EQ(decide().add, 1u);
}

TEST_F(PolicyTest, CapacityAskedForIsCountedOnce) {
  tasks(3);
  EXPECT_EQ(decide().add, 3u);
  for (auto id : {"a", "b", "c"}) starting(id);
  expect_nothing(Reason::kSteady);
  busy("a");
  expect_nothing(Reason::kSteady);
}

TEST_F(PolicyTest, NeverAboveMaxAndItSaysSo) {
  begin({.each = {0, 2}});
  tasks(5);
  auto decision = decide();
  EXPECT_EQ(decision.add, 2u);
  EXPECT_EQ(decision.reason, Reason::kLimited);
  EXPECT_EQ(decision.wanted, 5u);
  EXPECT_THAT(explain(decision), HasSubstr("limits allow 2 now, 2 more are asked for"));
}

TEST_F(PolicyTest, ThoseThatLeaveCountTowardsMaxUntilTheyAreGone) {
  begin({.each = {0, 2}});
  member("a", MemberState::kLeaving);
  tasks(5);
  EXPECT_EQ(decide().add, 1u);
}

TEST_F(PolicyTest, OneStepUpIsLimited) {
  begin({.step_up_max = 4});
  tasks(10);
  EXPECT_EQ(decide().add, 4u);
}

TEST_F(PolicyTest, WithinTheToleranceWhatIsThereIsEnough) {
  for (auto id : {"a", "b"}) busy(id);
  tasks(21, 0, kS);  // in 10.5 s
  expect_nothing(Reason::kTolerated);
  tasks(23, 0, kS);
  EXPECT_EQ(decide().add, 1u);
}

TEST_F(PolicyTest, ALongTaskIsNeverLeftWaitingForTheSakeOfTheTolerance) {
  for (int i = 0; i < 99; i++) busy("e" + std::to_string(i));
  tasks(1, 99);
  EXPECT_EQ(decide().add, 1u);
}

TEST_F(PolicyTest, WhereTheClusterIsFullItIsSharedOutByWaterFilling) {
  begin({.cluster_max = 12});
  tasks_of("small", 2);
  tasks_of("large", 50);
  tasks_of("larger", 90);
  std::map<std::string, uint64_t> adds;
  for (const auto& decision : scaler_->decide(seen_, now_))
    adds[decision.application] = decision.add;
  EXPECT_THAT(adds,
              ElementsAre(std::pair("large", 5), std::pair("larger", 5), std::pair("small", 2)));
}

TEST_F(PolicyTest, TheMinimumOfAnApplicationIsThereWithoutDemand) {
  begin({.of_application = {{"app", {2, 5}}}});
  tasks(0);
  EXPECT_EQ(decide().add, 2u);
  idle("a"), idle("b");
  expect_nothing(Reason::kSteady);
}

TEST_F(PolicyTest, WarmSparesAreKeptWhileThereIsWork) {
  begin({.spares = 1});
  tasks(1, 0, kMs);
  EXPECT_EQ(decide().add, 2u);
  tasks(0);
  for (auto id : {"a", "b"}) idle(id);
  pass(11 * kS);
  EXPECT_THAT(decide().retire, ElementsAre("a", "b"));
}

TEST_F(PolicyTest, ExecutorsOfSomebodyElseAreCapacityAndNeverLetGo) {
  idle("theirs");
  seen_.members.back().owned = false;
  tasks(1);
  expect_nothing(Reason::kSteady);
  tasks(0);
  pass(60 * kS);
  expect_nothing(Reason::kSteady);
}

// ---- how long a start takes
// --------------------------------------------------------------------

TEST_F(PolicyTest, ItLearnsHowLongAStartTakesAndAsksForMoreInTime) {
  tasks(1);
  EXPECT_EQ(decide().add, 1u);
  pass(100 * kMs);
  starting("a");
  decide();
  pass(4 * kS);
  busy("a");
  EXPECT_EQ(decide().cold_start_us, 4 * kS);
  tasks(100, 0, kS);
  EXPECT_EQ(decide().add, 15u);  // 10 s of the 100 are done by the first; the others have 6 s
}

TEST_F(PolicyTest, AStartTooFastToBeSeenIsMeasuredFromTheAsking) {
  tasks(1);
  decide();
  pass(300 * kMs);
  busy("a");
  EXPECT_EQ(decide().cold_start_us, 300 * kMs);
}

TEST_F(PolicyTest, WhatAnEarlierOneMeasuredIsReckonedWithAndGoesOnBeingMeasured) {
  scaler_->recall({{"app", 4 * kS}, {"no longer registered", kS}});
  tasks(100, 0, kS);
  auto decision = decide();
  EXPECT_EQ(decision.cold_start_us, 4 * kS);
  EXPECT_EQ(decision.add, 17u);  // 100 s in the 6 s that are left
  pass(8 * kS);
  busy("a");
  EXPECT_EQ(decide().cold_start_us, 5 * kS);
}

TEST_F(PolicyTest, WhoWasThereBeforeUsShowsNothing) {
  busy("a");
  tasks(0, 1);
  EXPECT_EQ(decide().cold_start_us, 0);
}

// ---- down
// --------------------------------------------------------------------------------------

TEST_F(PolicyTest, WithoutWorkItGoesToZero) {
  busy("a"), busy("b");
  tasks(0, 2);
  expect_nothing(Reason::kSteady);
  tasks(0);
  idle("a", kS), idle("b", 2 * kS);
  expect_nothing(Reason::kStabilizing);
  pass(9 * kS);
  expect_nothing(Reason::kStabilizing);
  pass(2 * kS);
  EXPECT_THAT(decide().retire, ElementsAre("b", "a"));  // longest idle first
}

TEST_F(PolicyTest, ABusyOneIsNeverChosen) {
  tasks(0);
  busy("a"), busy("b");
  idle("c");
  pass(60 * kS);
  EXPECT_THAT(decide().retire, ElementsAre("c"));
  gone("c");
  pass(60 * kS);
  expect_nothing(Reason::kAllBusy);
}

TEST_F(PolicyTest, NoneGoesBeforeItHasBeenIdleForLongEnough) {
  tasks(0);
  idle("a", 9 * kS);
  expect_nothing(Reason::kAllBusy);
  pass(kS);
  EXPECT_THAT(decide().retire, ElementsAre("a"));
}

TEST_F(PolicyTest, ItGoesNoLowerThanTheHighestWishOfTheWindow) {
  for (auto id : {"a", "b", "c", "d"}) idle(id);
  tasks(3);
  decide();
  pass(5 * kS);
  tasks(1);
  auto decision = decide();  // three were wanted 5 s ago, one is now
  EXPECT_THAT(decision.retire, ElementsAre("a"));
  gone("a");
  pass(6 * kS);
  EXPECT_EQ(decide().retire.size(), 2u);
}

TEST_F(PolicyTest, TheFirstWindowAfterAStartShrinksNothing) {
  scaler_.emplace(Policy{}, now_);
  tasks(0);
  idle("a");
  expect_nothing(Reason::kStabilizing);
  pass(11 * kS);
  EXPECT_THAT(decide().retire, ElementsAre("a"));
}

TEST_F(PolicyTest, EveryStepDownWaitsForTheLast) {
  tasks(0);
  idle("a"), busy("b");
  EXPECT_THAT(decide().retire, ElementsAre("a"));
  gone("a");
  idle("b");
  pass(kS);
  expect_nothing(Reason::kCooling);
  pass(kS);
  EXPECT_THAT(decide().retire, ElementsAre("b"));
}

TEST_F(PolicyTest, OneStepDownIsLimited) {
  begin({.step_down_max = 2});
  tasks(0);
  for (auto id : {"a", "b", "c"}) idle(id);
  EXPECT_THAT(decide().retire, ElementsAre("a", "b"));
}

TEST_F(PolicyTest, ASmallSurplusIsLeft) {
  for (int i = 0; i < 20; i++) idle("e" + std::to_string(i));
  tasks(19);
  expect_nothing(Reason::kTolerated);
  tasks(17);
  pass(11 * kS);
  decide();
  pass(11 * kS);
  EXPECT_EQ(decide().retire.size(), 3u);
}

TEST_F(PolicyTest, NeverBelowTheMinimum) {
  begin({.each = {2, 9}});
  tasks(0);
  for (auto id : {"a", "b", "c"}) idle(id);
  EXPECT_EQ(decide().retire.size(), 1u);
}

TEST_F(PolicyTest, AnUnregisteredApplicationHasNoMinimum) {
  begin({.each = {2, 9}});
  idle("a");
  EXPECT_THAT(decide().retire, ElementsAre("a"));
}

TEST_F(PolicyTest, OneThatStartsIsNotLetGo) {
  starting("a");
  tasks(0);
  pass(20 * kS);
  expect_nothing(Reason::kAllBusy);
}

TEST_F(PolicyTest, IdleOnesOfAFullClusterGoAtOnceToWhoWaits) {
  begin({.cluster_max = 4});
  for (auto id : {"a", "b", "c", "d"}) idle(id, kS);
  tasks(4);
  expect_nothing(Reason::kSteady);
  tasks_of("other", 9);
  auto decision = decide();
  EXPECT_EQ(decision.retire.size(), 2u) << explain(decision);
  for (auto& id : decision.retire) member(id, MemberState::kLeaving);
  EXPECT_EQ(decide("other").add, 0u) << "they are there still";
  for (auto& id : decision.retire) gone(id);
  EXPECT_EQ(decide("other").add, 2u);
}

TEST_F(PolicyTest, WhoDeservesTheLastPlaceOfAFullClusterGetsIt) {
  begin({.cluster_max = 4});
  for (auto id : {"a", "b", "c", "d"}) idle(id, kS);
  tasks(9);
  decide();
  tasks_of("other", 1);  // no more than its part: the cluster is full all the same
  EXPECT_THAT(decide().retire, ElementsAre("a"));
}

// ---- the minimum of the cluster
// ----------------------------------------------------------------

TEST_F(PolicyTest, TheMinimumOfTheClusterIsThereWithoutDemandAndItSaysSo) {
  begin({.cluster_min = 3});
  tasks(0);
  auto decision = decide();
  EXPECT_EQ(decision.add, 3u);
  EXPECT_EQ(decision.reason, Reason::kGrow);
  EXPECT_THAT(explain(decision),
              HasSubstr("3 executors of 1 slot, 3 only for the cluster's minimum"));
  for (auto id : {"a", "b", "c"}) idle(id);
  expect_nothing(Reason::kMinimum);
  EXPECT_THAT(explain(decide()), HasSubstr("there are 3; so many are kept"));
}

TEST_F(PolicyTest, WhatWorkWantsCountsTowardsTheMinimumOfTheCluster) {
  begin({.cluster_min = 3});
  tasks(2);
  EXPECT_EQ(decide().add, 3u);
  EXPECT_EQ(decide().held, 1u);
  tasks(7);
  EXPECT_EQ(decide().add, 7u);
  EXPECT_EQ(decide().held, 0u);
}

TEST_F(PolicyTest, TheMinimumOfTheClusterIsPouredLikeWaterButFirstWhereExecutorsAre) {
  begin({.cluster_min = 4});
  tasks_of("a", 0), tasks_of("b", 3), tasks_of("c", 0);
  auto wanted = [&] {
    std::map<std::string, uint64_t> all;
    for (const auto& decision : scaler_->decide(seen_, now_))
      all[decision.application] = decision.wanted;
    return all;
  };
  EXPECT_THAT(wanted(), ElementsAre(std::pair("a", 1), std::pair("b", 3), std::pair("c", 0)));
  for (auto id : {"b1", "b2", "b3"}) busy(id, "b");
  idle("c1", kS, "c");
  EXPECT_THAT(wanted(), ElementsAre(std::pair("a", 0), std::pair("b", 3), std::pair("c", 1)));
  tasks_of("b", 0);  // nothing is stopped for the sake of an equal level
  EXPECT_THAT(wanted(), ElementsAre(std::pair("a", 0), std::pair("b", 3), std::pair("c", 1)));
  tasks_of("a", 4);
  EXPECT_THAT(wanted(), ElementsAre(std::pair("a", 4), std::pair("b", 0), std::pair("c", 0)));
}

TEST_F(PolicyTest, ItShrinksToTheMinimumOfTheClusterAndNoFurther) {
  begin({.cluster_min = 2});
  tasks(0);
  for (auto id : {"a", "b", "c"}) idle(id);
  EXPECT_THAT(decide().retire, ElementsAre("a"));
  gone("a");
  pass(60 * kS);
  expect_nothing(Reason::kMinimum);
}

TEST_F(PolicyTest, TheMinimumOfTheClusterRespectsTheMaximumOfAnApplication) {
  begin({.of_application = {{"a", {0, 1}}}, .cluster_min = 3});
  tasks_of("a", 0), tasks_of("b", 0);
  EXPECT_EQ(decide("a").add, 1u);
  EXPECT_EQ(decide("b").add, 2u);
  seen_.demand.erase("b");  // no longer registered
  EXPECT_EQ(decide("a").wanted, 1u);
}

TEST_F(PolicyTest, WhoDoesNotStartHoldsNothingOfTheMinimumOfTheCluster) {
  begin({.cluster_min = 2});
  tasks_of("app", 0), tasks_of("other", 0);
  for (auto id : {"x", "y", "z"}) starting(id), seen_.members.back().exits = 1;
  decide();
  EXPECT_EQ(decide().wanted, 0u);
  EXPECT_EQ(decide("other").add, 2u);
}

TEST_F(PolicyTest, AFrozenApplicationCountsTowardsTheMinimumOfTheClusterByWhatItHas) {
  begin({.cluster_min = 3});
  idle("a"), idle("b");
  demand().stale = "old";
  tasks_of("other", 0);
  EXPECT_EQ(decide("other").add, 1u);
}

// ---- the least busy
// ----------------------------------------------------------------------------

TEST_F(PolicyTest, WhereNoneBecomesIdleTheLeastBusyRestAndThenGo) {
  begin({.slots = 4});
  for (auto id : {"a", "b", "c"}) busy(id);
  member("a", MemberState::kRegistered).tasks = 1;
  member("b", MemberState::kRegistered).tasks = 2;
  member("c", MemberState::kRegistered).tasks = 1;
  tasks(0, 4);
  expect_nothing(Reason::kAllBusy);
  pass(11 * kS);
  expect_nothing(Reason::kAllBusy);
  pass(kS);
  auto decision = decide();
  EXPECT_THAT(decision.cordon, ElementsAre("a", "c"));
  EXPECT_EQ(decision.reason, Reason::kCordon);
  EXPECT_THAT(explain(decision), HasSubstr("the least busy take nothing new: a, c"));
  for (auto id : {"a", "c"}) member(id, MemberState::kResting);
  tasks(0, 2);
  pass(60 * kS);
  expect_nothing(Reason::kSteady);
  EXPECT_THAT(explain(decide()), HasSubstr("there is 1, 2 more rest; nothing to do"));
  member("a", MemberState::kResting).idle_us = 9 * kS;
  expect_nothing(Reason::kSteady);
  pass(kS);
  EXPECT_THAT(decide().retire, ElementsAre("a"));
}

TEST_F(PolicyTest, WhatRestsIsFreedBeforeAnythingElseWhenDemandReturns) {
  tasks(4);
  busy("a");
  member("r", MemberState::kResting);
  member("d", MemberState::kDrained);
  auto decision = decide();
  EXPECT_THAT(decision.restore, ElementsAre("r", "d"));
  EXPECT_EQ(decision.add, 1u);
  EXPECT_THAT(decision.finish, IsEmpty());
  tasks(2);
  decision = decide();
  EXPECT_THAT(decision.restore, ElementsAre("r"));
  EXPECT_THAT(decision.finish, ElementsAre("d"));
}

TEST_F(PolicyTest, ADipThatDoesNotLastMakesNobodyRest) {
  begin({.slots = 4, .idle_after_us = 60 * kS});
  busy("a"), busy("b");
  tasks(0, 4);
  expect_nothing(Reason::kAllBusy);
  pass(30 * kS);
  tasks(0, 8);
  expect_nothing(Reason::kSteady);
  tasks(0, 4);
  pass(kS);
  expect_nothing(Reason::kStabilizing);
  pass(11 * kS);
  expect_nothing(Reason::kAllBusy);
  pass(61 * kS);
  expect_nothing(Reason::kAllBusy);
  pass(kS);
  EXPECT_EQ(decide().cordon.size(), 1u);
}

TEST_F(PolicyTest, WhoIsAlwaysAtWorkOnAFullClusterGivesUpWhatAnotherOneDeserves) {
  begin({.cluster_max = 4});
  for (auto id : {"a", "b", "c", "d"}) busy(id), member(id, MemberState::kRegistered).tasks = 1;
  tasks(1000, 4);
  tasks_of("other", 2);
  auto decision = decide();
  EXPECT_EQ(decision.reason, Reason::kCordon) << explain(decision);
  EXPECT_THAT(decision.cordon, ElementsAre("a", "b"));
  for (auto& id : decision.cordon) member(id, MemberState::kResting);
  EXPECT_EQ(decide("other").add, 0u) << "they finish what they have";
  member("a", MemberState::kResting).idle_us = kS;
  pass(2 * kS);
  EXPECT_THAT(decide().retire, ElementsAre("a")) << "at once, as it is waited for";
  gone("a");
  EXPECT_EQ(decide("other").add, 1u);
  tasks_of("other", 0);
  pass(kS);
  EXPECT_THAT(decide().restore, ElementsAre("b")) << "before one is started";
}

TEST_F(PolicyTest, AfterARestartWhatRestsStaysUntilTheDemandIsKnown) {
  scaler_.emplace(Policy{}, now_);
  tasks(0);
  member("a", MemberState::kResting).idle_us = 3600 * kS;
  expect_nothing(Reason::kSteady);
  pass(11 * kS);
  EXPECT_THAT(decide().retire, ElementsAre("a"));
}

// ---- what cannot be trusted
// --------------------------------------------------------------------

TEST_F(PolicyTest, WhatCouldNotBeReadFreezesEverythingAndIsSaid) {
  idle("a");
  tasks(0);
  seen_.frozen = "Redis does not answer";
  expect_nothing(Reason::kFrozen);
  EXPECT_THAT(explain(decide()), HasSubstr("Redis does not answer"));
  tasks(50);
  member("b", MemberState::kLeaving);
  expect_nothing(Reason::kFrozen);
  gone("b");
  seen_.frozen.clear();
  EXPECT_EQ(decide().add, 49u);
}

TEST_F(PolicyTest, OldFiguresFreezeTheirApplicationAlone) {
  idle("a");
  tasks(0);
  demand().stale = "written 9 s ago";
  tasks_of("other", 1);
  expect_nothing(Reason::kFrozen);
  EXPECT_EQ(decide("other").add, 1u);
}

TEST_F(PolicyTest, AnEmptyListThatFailedIsNotZero) {
  tasks(3);
  for (auto id : {"a", "b", "c"}) busy(id);
  expect_nothing(Reason::kSteady);
  seen_ = {.frozen = "the list of executors is cut"};
  EXPECT_THAT(scaler_->decide(seen_, now_), IsEmpty());
}

TEST_F(PolicyTest, AFrozenApplicationKeepsItsPartOfTheCluster) {
  begin({.cluster_max = 4});
  idle("a"), idle("b");
  demand().stale = "old";
  tasks_of("other", 9);
  EXPECT_EQ(decide("other").add, 2u);
}

// ---- starts that fail
// --------------------------------------------------------------------------

TEST_F(PolicyTest, WhoDoesNotRegisterInTimeIsNoCapacityAndIsRemoved) {
  tasks(1);
  starting("a");
  expect_nothing(Reason::kSteady);
  pass(31 * kS);
  auto decision = decide();
  EXPECT_THAT(decision.failed, ElementsAre("a"));
  EXPECT_EQ(decision.add, 1u);
  decision = decide();  // not gone yet: counted once
  EXPECT_THAT(decision.failed, ElementsAre("a"));
}

TEST_F(PolicyTest, AfterThreeFailuresNothingIsAskedForAndTheReasonIsShown) {
  tasks(5);
  for (auto id : {"a", "b", "c"}) {
    starting(id);
    seen_.members.back().exits = 1;
    seen_.members.back().trouble = "exited with code 127";
  }
  auto decision = decide();
  EXPECT_EQ(decision.reason, Reason::kFailing);
  EXPECT_EQ(decision.add, 0u);
  EXPECT_THAT(decision.failed, ElementsAre("a", "b", "c"));
  EXPECT_THAT(explain(decision), HasSubstr("c exited with code 127"));
}

TEST_F(PolicyTest, FailuresAreTriedAgainOneAtATimeAndTheWaitGrowsToFiveMinutes) {
  tasks(5);
  std::vector<int64_t> waits;
  for (auto id : {"a", "b", "c"}) starting(id), seen_.members.back().exits = 1;
  for (int i = 0; i < 7; i++) {
    auto decision = decide();
    ASSERT_EQ(decision.reason, Reason::kFailing) << explain(decision);
    waits.push_back(decision.wait_us / kS);
    seen_.members.clear();
    pass(decision.wait_us);
    ASSERT_EQ(decide().add, 1u);
    starting("p" + std::to_string(i));
    expect_nothing(Reason::kFailing);  // it is waited for
    seen_.members.back().exits = 1;
  }
  EXPECT_THAT(waits, ElementsAre(10, 20, 40, 80, 160, 300, 300));
}

TEST_F(PolicyTest, OneThatRegistersEndsTheBackOff) {
  tasks(5);
  for (auto id : {"a", "b", "c"}) starting(id), seen_.members.back().exits = 1;
  pass(decide().wait_us);
  seen_.members.clear();
  EXPECT_EQ(decide().add, 1u);
  starting("d");
  decide();
  busy("d");
  EXPECT_EQ(decide().add, 4u);
}

TEST_F(PolicyTest, ABackOffOfOneApplicationHoldsNoOtherUp) {
  tasks(5);
  for (auto id : {"a", "b", "c"}) starting(id), seen_.members.back().exits = 1;
  tasks_of("other", 2);
  EXPECT_EQ(decide().add, 0u);
  EXPECT_EQ(decide("other").add, 2u);
}

TEST(Explain, SaysItInOneSentence) {
  Decision decision{.reason = Reason::kGrow,
                    .slots_wanted = 20,
                    .wanted = 5,
                    .registered = 1,
                    .starting = 1,
                    .add = 3,
                    .demand = {.pending = 400, .running = 1, .run_us = 500 * kMs},
                    .run_us = 500 * kMs,
                    .slots = 4,
                    .target_drain_us = 10 * kS};
  EXPECT_EQ(explain(decision),
            "400 tasks wait and 1 runs, taken for 500 ms each: 20 slots wanted to be done in 10 s, "
            "5 executors of 4 slots; there is 1, 1 more start; 3 more are asked for");
}

// A drain is begun with the broker and ended with the provider: whoever takes over between the two
// finishes it, or undoes it.
TEST_F(PolicyTest, WhatWasDrainedAndIsNotWantedIsRemoved) {
  tasks(0);
  member("a", MemberState::kDrained);
  idle("b", 1);
  auto decision = decide();
  EXPECT_THAT(decision.finish, ElementsAre("a"));
  EXPECT_EQ(decision.registered, 1u) << "it is no capacity";
  EXPECT_FALSE(decision.acts()) << "no news: it was decided before";
}

TEST_F(PolicyTest, WhatWasDrainedAndIsWantedAgainTakesTasksBeforeAnythingIsStarted) {
  tasks(3);
  member("a", MemberState::kDrained);
  member("b", MemberState::kDrained);
  auto decision = decide();
  EXPECT_THAT(decision.restore, ElementsAre("a", "b"));
  EXPECT_THAT(decision.finish, IsEmpty());
  EXPECT_EQ(decision.add, 1u);
  EXPECT_EQ(decision.reason, Reason::kGrow);
  EXPECT_THAT(explain(decision), HasSubstr("1 more is asked for, taken back from leaving: a, b"));
  tasks(1);
  decision = decide();
  EXPECT_THAT(decision.restore, ElementsAre("a"));
  EXPECT_THAT(decision.finish, ElementsAre("b"));
  EXPECT_EQ(decision.add, 0u);
}

TEST_F(PolicyTest, AFreedExecutorIsNoStartThatWasMeasured) {
  tasks(1);
  starting("a");
  decide();
  pass(5 * kS);
  busy("a");
  EXPECT_EQ(decide().cold_start_us, 5 * kS);
  member("a", MemberState::kDrained);
  decide();
  pass(20 * kS);
  busy("a");
  EXPECT_EQ(decide().cold_start_us, 5 * kS);
}

}  // namespace
}  // namespace flame::autoscaler

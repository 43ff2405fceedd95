// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Cordon, drain and victims. Network and store are played by hand; with real processes it is
// tests/system/test_holds.py.

#include "broker/core/holds.hpp"

#include <gmock/gmock.h>

#include "tests/unit/broker/by_hand.hpp"

namespace flame::broker {
namespace {

using proto::Hold;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class HoldsTest : public ByHand {
 protected:
  std::string hold(const std::string& executor, Hold hold) {
    say(proto::HoldExecutor{++request, executor, hold});
    return answer;
  }
  std::vector<std::string> victims(uint64_t count, uint64_t idle_ms = 0,
                                   std::vector<std::string> of = {}) {
    say(proto::PickVictims{++request, "echo", count, idle_ms, std::move(of)});
    return names;
  }
  Hold held(const std::string& id) const { return core.state().executors.at(id).hold; }
};

TEST_F(HoldsTest, ACordonedExecutorTakesNothingUntilItIsFree) {
  executor("a");
  executor("b");
  EXPECT_THAT(hold("a", Hold::kCordoned), HasSubstr("<a> is cordoned: it takes nothing new."));
  session(8);
  bound("b");
  EXPECT_EQ(in_hand("a"), 0u);
  EXPECT_GT(in_hand("b"), 0u);
  EXPECT_THAT(hold("a", Hold::kNone), HasSubstr("takes tasks again"));
  bound("a");
  EXPECT_GT(in_hand("a"), 0u);
}

TEST_F(HoldsTest, WhatItHasInHandIsFinishedThere) {
  executor("a");
  session(4);
  bound("a");
  uint64_t before = in_hand("a");
  ASSERT_GT(before, 0u);
  EXPECT_THAT(hold("a", Hold::kCordoned), HasSubstr("in hand"));
  EXPECT_THAT(heard["a"], ElementsAre("bind")) << "its slots end; no task is taken from it";
  EXPECT_EQ(in_hand("a"), before);
  EXPECT_EQ(core.state().executors.at("a").slots[0].wanted, 0u);
}

TEST_F(HoldsTest, ADrainedProcessIsToldToLeaveAndAPodIsNot) {
  executor("a", "process 7");
  executor("p", "pod flame/p 1-2-3");
  EXPECT_THAT(hold("a", Hold::kDrained), HasSubstr("leaves when it is idle"));
  EXPECT_THAT(heard["a"], testing::Contains("drain"));
  EXPECT_THAT(hold("p", Hold::kDrained), HasSubstr("pod can be deleted once it is idle"));
  EXPECT_THAT(heard["p"], testing::Not(testing::Contains("drain")));
  EXPECT_THAT(hold("a", Hold::kNone), HasSubstr("leaving already"));
  EXPECT_THAT(hold("p", Hold::kNone), HasSubstr("takes tasks again"));
}

TEST_F(HoldsTest, ADrainBelongsToThePodAndACordonToTheName) {
  executor("p", "pod flame/p uid-1", "first");
  executor("a", "process 7", "first");
  executor("c", "process 8", "first");
  hold("p", Hold::kDrained);
  hold("a", Hold::kDrained);
  hold("c", Hold::kCordoned);
  for (auto id : {"p", "a", "c"}) from(id, proto::Bye{"stopped"});
  executor("p", "pod flame/p uid-1", "second");  // the kubelet starts the container again
  EXPECT_EQ(held("p"), Hold::kDrained);
  executor("a", "process 9", "second");
  EXPECT_EQ(held("a"), Hold::kNone);
  executor("c", "process 9", "second");
  EXPECT_EQ(held("c"), Hold::kCordoned);
  from("p", proto::Bye{"stopped"});
  executor("p", "pod flame/p uid-2", "third");
  EXPECT_EQ(held("p"), Hold::kNone) << "another pod of that name";
}

TEST_F(HoldsTest, OutlivesTheBroker) {
  executor("p", "pod flame/p uid-1");
  executor("a", "process 7");
  hold("p", Hold::kDrained);
  hold("a", Hold::kDrained);
  std::vector<std::pair<std::string, std::string>> rows(stored.begin(), stored.end());
  ASSERT_EQ(rows.size(), 2u) << "in Redis before the answer";
  core = Core(CoreConfig{.version = "test", .seed = 2});
  start(rows);
  executor("p", "pod flame/p uid-1", "a new process");
  EXPECT_EQ(held("p"), Hold::kDrained);
  executor("a", "process 7");
  EXPECT_EQ(held("a"), Hold::kDrained) << "the same process";
  EXPECT_THAT(heard["a"], testing::Contains("drain"));
}

TEST_F(HoldsTest, VictimsHaveNothingInHandAndAreDrainedBeforeTheyAreNamed) {
  for (auto id : {"a", "b", "c"}) executor(id);
  executor("other", "process 1", "n", "flmping");
  executor("shared", "process 1", "n", "");
  hold("shared", Hold::kCordoned);
  session(2);
  for (auto id : {"a", "b", "c"}) bound(id);
  std::set<std::string> idle;
  for (auto id : {"a", "b", "c"}) {
    if (in_hand(id) == 0) idle.insert(id);
  }
  ASSERT_EQ(idle.size(), 2u) << "one executor is filled before the next one";
  EXPECT_THAT(victims(9), testing::UnorderedElementsAreArray(idle));
  for (const auto& id : idle) EXPECT_EQ(held(id), Hold::kDrained);
  EXPECT_THAT(victims(1), ElementsAre(*idle.begin())) << "asked again: no further one";
  submit(20);
  for (auto id : {"a", "b", "c"}) bound(id);
  for (const auto& id : idle) EXPECT_EQ(in_hand(id), 0u);
}

TEST_F(HoldsTest, VictimsAreThoseIdleForLongestAndOnlyOfTheNamed) {
  for (auto id : {"a", "b", "c"}) executor(id);
  EXPECT_THAT(victims(3, 1000), IsEmpty()) << "connected just now";
  now.mono_us += 3 * proto::kUsPerSecond;
  now.wall_us += 3 * proto::kUsPerSecond;
  for (auto id : {"a", "b", "c"}) from(id, proto::Beat{});
  core.tick(now, true);
  turn();
  hold("b", Hold::kCordoned);
  EXPECT_THAT(victims(3, 1000, {"b", "c"}), ElementsAre("c")) << "a cordon is an operator's";
}

TEST_F(HoldsTest, WhatRestsIsAVictimAtOnceAndAnOperatorsWishGoesFirst) {
  executor("a");
  executor("b");
  EXPECT_THAT(hold("a", Hold::kResting), HasSubstr("<a> is resting: it takes nothing new."));
  session(2);
  bound("b");
  EXPECT_EQ(in_hand("a"), 0u);
  hold("b", Hold::kCordoned);
  EXPECT_THAT(hold("b", Hold::kResting), HasSubstr("'b' is cordoned already"));
  EXPECT_EQ(held("b"), Hold::kCordoned);
  EXPECT_THAT(victims(9, 1000), ElementsAre("a")) << "nothing can have reached it";
  EXPECT_EQ(held("a"), Hold::kDrained);
}

TEST_F(HoldsTest, ARestBelongsToThePodOrTheProcess) {
  executor("p", "pod flame/p uid-1", "first");
  executor("a", "process 7", "first");
  for (auto id : {"p", "a"}) hold(id, Hold::kResting);
  for (auto id : {"p", "a"}) from(id, proto::Bye{"stopped"});
  executor("p", "pod flame/p uid-1", "second");
  executor("a", "process 8", "second");
  EXPECT_EQ(held("p"), Hold::kResting);
  EXPECT_EQ(held("a"), Hold::kNone) << "another one under that name";
}

// Where nobody gains by it no slot moves: without a rest both executors are busy for ever.
TEST_F(HoldsTest, SessionsThatAlwaysWorkStayApartUntilTheirExecutorRests) {
  executor("a");
  executor("b");
  session(2);
  bound("a");
  proto::CreateSession other;
  other.request = ++request;
  other.session = "t";
  other.spec.application = "echo";
  say(std::move(other));
  proto::SessionUid uid = core.state().sessions.rbegin()->first;
  uint64_t sent = 0;
  auto submit_both = [&] {
    if (sent > 0) submit(1);
    std::string inputs;
    proto::append_element(inputs, "x");
    say(proto::Submit{uid, ++sent, 1, 0, proto::Bytes::own(std::move(inputs))});
    for (auto id : {"a", "b"}) bound(id);
  };
  auto finish_all = [&] {
    while (in_hand("a") + in_hand("b") > 0) finish({"a", "b"});
  };
  submit_both();
  for (int i = 0; i < 20; i++) {
    finish_all();
    submit_both();
    ASSERT_EQ(in_hand("a"), 1u);
    ASSERT_EQ(in_hand("b"), 1u);
  }
  hold("b", Hold::kResting);
  finish_all();
  submit_both();
  EXPECT_EQ(in_hand("a"), 2u);
  EXPECT_EQ(in_hand("b"), 0u);
}

TEST_F(HoldsTest, UnknownAndAbsentOnesAreNamed) {
  executor("a");
  EXPECT_THAT(hold("x", Hold::kCordoned), HasSubstr("no executor 'x'"));
  from("a", proto::Bye{"stopped"});
  EXPECT_THAT(hold("a", Hold::kDrained), HasSubstr("not connected: it is Left"));
}

TEST_F(HoldsTest, ATrickleOfTasksKeepsOneExecutorBusyAndLetsTheOthersIdle) {
  for (auto id : {"a", "b", "c"}) executor(id);
  session(6);  // all slots are bound, and linger for delay_release
  for (auto id : {"a", "b", "c"}) bound(id);
  ASSERT_GT(in_hand("a"), 0u);
  ASSERT_GT(in_hand("c"), 0u);
  finish({"a", "b", "c"});
  std::set<std::string> worked;
  for (int i = 0; i < 20; i++) {
    submit(1);
    for (auto id : {"a", "b", "c"}) {
      if (in_hand(id) > 0) worked.insert(id);
    }
    finish({"a", "b", "c"});
  }
  EXPECT_EQ(worked.size(), 1u);
}

}  // namespace
}  // namespace flame::broker

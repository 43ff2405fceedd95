// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// The link to the broker: what happens when words, brokers or time are lost.

#include "tests/unit/executor/core_fixture.hpp"

namespace flame::executor::test {
namespace {

using ::testing::StartsWith;

using LinkTest = CoreTest;

TEST_F(LinkTest, SaysHelloUntilSomebodyIsThere) {
  EXPECT_THAT(turn(), ElementsAre("hello hand"));
  for (int64_t wait_ms : {10, 20, 40, 80, 160, 320, 500, 500}) {
    feed(SendRefused{});
    EXPECT_THAT(turn(), IsEmpty());
    EXPECT_THAT(after(wait_ms * kMs), ElementsAre("hello hand"));
  }
}

TEST_F(LinkTest, RepeatsAnUnansweredHelloOnANewLink) {
  turn();
  auto before = broker_link_.id();
  EXPECT_THAT(after(kSecond), ElementsAre("hello hand"));
  EXPECT_NE(broker_link_.id(), before);
}

TEST_F(LinkTest, OpensANewSocketWhenABrokerIsSilentForALease) {
  serve_session();
  dispatch(7, {1, 3});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 1"));
  EXPECT_THAT(after(kSecond), ElementsAre("beat"));
  EXPECT_THAT(after(kSecond), ElementsAre("beat"));
  EXPECT_THAT(after(kSecond), ElementsAre("reconnect"));
  EXPECT_THAT(after(10 * kMs), ElementsAre("hello slot 0=7 hand 1 2-3"));
  // The service goes on meanwhile.
  answer(1, {1, 1});
  EXPECT_THAT(turn(), ElementsAre(StartsWith("invoke 1 2")));
  welcome();
  EXPECT_THAT(turn(), ElementsAre(StartsWith("results 1 ")));
}

TEST_F(LinkTest, ATimeInWhichItDidNotRunIsNotTheBrokersSilence) {
  serve_session();
  EXPECT_THAT(after(60 * kSecond), ElementsAre("beat"));
}

TEST_F(LinkTest, AWindowThatChangesBetweenHelloAndWelcomeIsSaidAfterIt) {
  turn();
  welcome();
  context(7);
  bind(0, 1, 7);
  turn();
  say(proto::Resync{"messages were lost"});
  turn();
  EXPECT_THAT(after(10 * kMs), ElementsAre("hello slot 0=7 hand"));
  EXPECT_EQ(last<proto::ExecutorHello>().windows.at(0).tasks, 0u);
  entered(1);
  EXPECT_THAT(turn(), IsEmpty());
  welcome();
  EXPECT_THAT(turn(), ElementsAre("window 7:1"));
}

TEST_F(LinkTest, WhatIsGivenBackBetweenHelloAndWelcomeIsSaidAfterIt) {
  serve_session();
  dispatch(7, {1, 3});
  turn();
  exited(1);
  EXPECT_THAT(turn(), ElementsAre("returned task_crashed 1", "window 7:0"));
  after(100 * kMs);
  say(proto::Resync{"messages were lost"});
  turn();
  EXPECT_THAT(after(20 * kMs), ElementsAre("hello slot 0=7 hand 2-3"));
  exited(2, "no license");
  EXPECT_THAT(turn(), IsEmpty());
  welcome();
  EXPECT_THAT(turn(), ElementsAre("returned task_service_failed 2-3"));
}

TEST_F(LinkTest, ABrokerThatWasReplacedIsLeft) {
  serve_session();
  proto::ExecutorWelcome newest, replaced, other_lineage;
  newest.epoch = "8-aa", replaced.epoch = "6-bb", other_lineage.epoch = "2-cc";
  newest.lineage = replaced.lineage = "l", other_lineage.lineage = "m";
  auto greet = [&](const proto::ExecutorWelcome& welcome) {
    say(proto::Resync{"again"});
    turn();
    after(kSecond);
    say(welcome);
    return turn();
  };
  EXPECT_THAT(greet(newest), IsEmpty());
  EXPECT_THAT(greet(replaced), ElementsAre("reconnect"));
  after(kSecond);
  say(newest);
  EXPECT_THAT(turn(), IsEmpty());
  EXPECT_THAT(greet(other_lineage), IsEmpty());
}

TEST_F(LinkTest, AGapBeginsANewLinkWithEverythingInHand) {
  serve_session();
  dispatch(7, {1, 3});
  turn();
  (void)broker_link_.next();  // a lost message
  dispatch(7, {10, 1});
  EXPECT_THAT(turn(), IsEmpty());
  EXPECT_THAT(after(10 * kMs), ElementsAre("hello slot 0=7 hand 1 2-3"));
}

TEST_F(LinkTest, AResyncBeginsANewLinkOnce) {
  serve_session();
  proto::Envelope unknown{broker_link_.id(), 0};
  feed(Received{unknown, proto::Resync{"unknown executor"}});
  feed(Received{unknown, proto::Resync{"unknown executor"}});
  EXPECT_THAT(turn(), IsEmpty());
  EXPECT_THAT(after(10 * kMs), ElementsAre("hello slot 0=7 hand"));
  feed(Received{unknown, proto::Resync{"unknown executor"}});
  welcome();
  EXPECT_THAT(after(kMs), IsEmpty());
}

TEST_F(LinkTest, DropsWhatItHasHeardAndWhatBelongsToAnotherLink) {
  serve_session();
  dispatch(7, {1, 1});
  turn();
  feed(Received{{broker_link_.id(), 1}, proto::TakeBack{7}});
  feed(Received{{broker_link_.id() + 5, 1}, proto::TakeBack{7}});
  EXPECT_THAT(turn(), IsEmpty());
}

TEST_F(LinkTest, KeepsResultsUntilTheyAreRecorded) {
  serve_session();
  teach(4);
  dispatch(7, {1, 10});
  turn();
  pass(40);
  answer(1, {1, 10});
  turn();
  recorded(7, {3, 2});
  feed(SendRefused{});
  EXPECT_THAT(after(10 * kMs), ElementsAre("hello slot 0=7 hand 1-2 5-10"));
  welcome();
  EXPECT_THAT(turn(), ElementsAre(StartsWith("results 1-10 ")));
  recorded(7, {1, 2});
  recorded(7, {5, 6});
  feed(SendRefused{});
  turn();
  EXPECT_THAT(after(10 * kMs), ElementsAre("hello slot 0=7 hand"));
}

TEST_F(LinkTest, ACrashWhileTheBrokerIsAwayIsChargedAfterwards) {
  serve_session();
  dispatch(7, {1, 2});
  turn();
  feed(SendRefused{});
  exited(1, "exit code 3");
  EXPECT_THAT(turn(), IsEmpty());
  EXPECT_THAT(after(10 * kMs), ElementsAre("hello slot 0=7 hand 1 2"));
  welcome();
  EXPECT_THAT(turn(), ElementsAre("returned task_crashed 1"));
}

TEST_F(LinkTest, ARefusalIsTriedAgainWhenTheBrokerSays) {
  turn();
  say(proto::ErrorReply{0, proto::Code::kAlreadyExists, "taken", 700, 0, 0});
  EXPECT_THAT(after(699 * kMs), IsEmpty());
  EXPECT_THAT(after(1 * kMs), ElementsAre("hello hand"));
}

TEST_F(LinkTest, AHelloNeverOutgrowsItsHeader) {
  serve_session();
  for (proto::TaskId id = 1; id <= 8000; id++) dispatch(7, {id * 2, 1});
  turn();
  feed(SendRefused{});
  turn();
  auto lines = after(500 * kMs);
  EXPECT_LE(last<proto::ExecutorHello>().hand.size(), 2000u);
  welcome();
  turn();
  // What was not listed is not here any more.
  say(proto::TakeBack{7});
  turn();
  EXPECT_LE(last<proto::Returned>().runs.size(), 2000u);
}

TEST_F(LinkTest, BeatsWithTheBrokersInterval) {
  turn();
  proto::ExecutorWelcome fast;
  fast.beat_ms = 100;
  fast.lease_ms = 300;
  say(fast);
  turn();
  EXPECT_THAT(after(100 * kMs), ElementsAre("beat"));
  EXPECT_THAT(after(100 * kMs), ElementsAre("beat"));
  EXPECT_THAT(after(100 * kMs), ElementsAre("reconnect"));
}

TEST_F(LinkTest, WithoutABindingItBeatsAsRarelyAsTheBrokerSays) {
  turn();
  welcome();
  turn();
  say(proto::Beat{1, 5000});
  EXPECT_THAT(after(kSecond), ElementsAre("beat"));
  EXPECT_THAT(after(4 * kSecond), IsEmpty());
  EXPECT_THAT(after(kSecond), ElementsAre("beat"));
  EXPECT_THAT(after(4 * kSecond), IsEmpty());  // 9 s of silence, and the lease is 15
  bind(0, 1, 7);
  turn();
  EXPECT_THAT(after(kSecond), ElementsAre("beat"));
  EXPECT_THAT(after(kSecond), ElementsAre("beat"));
  EXPECT_THAT(after(kSecond), ElementsAre("reconnect"));
}

}  // namespace
}  // namespace flame::executor::test

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/unit/executor/core_fixture.hpp"

namespace flame::executor::test {
namespace {

class TwoSlots : public CoreTest {
 protected:
  TwoSlots() : CoreTest(2) {}
};

// ---- the plain way
// ------------------------------------------------------------------------------------------

TEST_F(CoreTest, RegistersBindsRunsAndForgets) {
  EXPECT_THAT(turn(), ElementsAre("hello hand"));
  welcome();
  EXPECT_THAT(turn(), IsEmpty());
  context(7);
  bind(0, 1, 7);
  EXPECT_THAT(turn(), ElementsAre("start 1 app", "enter 1 s7"));
  entered(1);
  EXPECT_THAT(turn(), ElementsAre("bound 0=7.1 ok", "window 7:1"));
  dispatch(7, {1, 1});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 1"));
  pass(100);
  answer(1, {1, 1});
  EXPECT_THAT(turn(), ElementsAre("results 1 window 65"));
  EXPECT_EQ(last<proto::TaskResults>().times, (std::vector<proto::FrameTime>{{1, 0, 100}}));
  recorded(7, {1, 1});
  EXPECT_THAT(turn(), IsEmpty());
}

TEST_F(CoreTest, ATaskTakesNoLongerBecauseAClockIsSet) {
  serve_session();
  teach(10 * kMs);
  for (int64_t set_us : {3600 * kSecond, -7200 * kSecond}) {
    dispatch(7, {1, 1});
    turn();
    now_.wall_us += set_us;
    pass(100);
    answer(1, {1, 1});
    turn();
    const auto& times = last<proto::TaskResults>().times;
    EXPECT_EQ(times.front().end_us - times.front().start_us, 100u);
    recorded(7, {1, 1});
  }
}

TEST_F(CoreTest, ReturnsWhatItWasNotAskedToServe) {
  turn();
  welcome();
  dispatch(9, {1, 5});
  EXPECT_THAT(turn(), ElementsAre("returned ok 1-5"));
}

TEST_F(CoreTest, AnErrorAnswerIsTheTasksResult) {
  serve_session();
  teach(10);
  dispatch(7, {1, 3});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 1-3"));
  answer(1, {1, 3}, {{1, proto::Code::kTaskFailed, "no"}});
  EXPECT_THAT(after(30), ElementsAre(::testing::HasSubstr("results 1-3 window")));
  EXPECT_EQ(last<proto::TaskResults>().exceptions,
            (std::vector<proto::Exception>{{2, proto::Code::kTaskFailed, "no"}}));
}

// ---- frames and windows
// -------------------------------------------------------------------------------------

TEST_F(CoreTest, OneTaskAtATimeUntilMeasured) {
  serve_session();
  dispatch(7, {1, 10});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 1"));
}

TEST_F(CoreTest, TinyTasksAreBundledByTheHundred) {
  serve_session();
  teach(4);
  dispatch(7, {1, 1000});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 1-500"));
  pass(2000);
  answer(1, {1, 500});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 501-1000", "results 1-500 window 1750"));
}

TEST_F(CoreTest, LongTasksAreNeverHoarded) {
  serve_session();
  teach(10 * kMs);
  dispatch(7, {1, 10});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 1"));
  answer(1, {1, 1});
  EXPECT_THAT(after(10 * kMs), ElementsAre("invoke 1 2", "results 1 window 2"));
  pass(3 * kSecond);
  answer(1, {2, 1});
  turn();
  EXPECT_EQ(last<proto::TaskResults>().window_tasks, 1u);
}

TEST_F(CoreTest, OneSlowTaskInAHundredKeepsFramesShort) {
  serve_session();
  for (proto::TaskId id = 1; id <= 60; id++) teach(id % 30 == 0 ? 1500 : 10, id);
  dispatch(7, {100, 500});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 100"));
}

// ---- the next frame behind the one that runs
// ------------------------------------------------------------------------------------------------

TEST_F(CoreTest, AShortTaskWaitsInTheServiceBehindAnother) {
  serve_session(true);
  teach(10 * kMs);
  dispatch(7, {1, 4});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 1", "invoke 1 next 2"));
  EXPECT_THAT(after(kMs), IsEmpty());
  pass(9 * kMs);
  answer(1, {1, 1});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 next 3", "results 1 window 2"));
  say(proto::TakeBack{7});
  EXPECT_THAT(turn(), ElementsAre("returned ok 4"));
  pass(10 * kMs);
  answer(1, {2, 1});
  answer(1, {3, 1});
  EXPECT_THAT(turn(), ElementsAre(::testing::StartsWith("results 2-3 ")));
  // The second began when the first was answered.
  dispatch(7, {5, 1});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 5"));
}

TEST_F(CoreTest, NothingWaitsBehindLongTasks) {
  serve_session(true);
  teach(25 * kMs);
  dispatch(7, {1, 4});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 1"));
}

TEST_F(CoreTest, NothingWaitsInAServiceThatDoesNotPromiseItsOrder) {
  serve_session(false);
  teach(10 * kMs);
  dispatch(7, {1, 4});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 1"));
}

TEST_F(TwoSlots, NothingWaitsWhileAnotherSlotIsIdle) {
  serve_session(true);
  teach(10 * kMs);
  bind(1, 1, 7);
  turn();
  entered(2, true);
  turn();
  dispatch(7, {1, 1});
  EXPECT_THAT(turn(), ElementsAre("invoke 2 1"));
  dispatch(7, {2, 1});
  EXPECT_THAT(after(kMs), ElementsAre("invoke 1 2"));
  dispatch(7, {3, 1});
  EXPECT_THAT(after(kMs), ElementsAre("invoke 2 next 3"));  // it will be free first
  dispatch(7, {4, 2});
  EXPECT_THAT(after(kMs), ElementsAre("invoke 1 next 4"));
  say(proto::TakeBack{7});
  EXPECT_THAT(turn(), ElementsAre("returned ok 5"));
}

TEST_F(CoreTest, ACrashChargesOnlyTheFrameThatRan) {
  serve_session(true);
  teach(10 * kMs);
  dispatch(7, {1, 2});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 1", "invoke 1 next 2"));
  exited(1);
  EXPECT_THAT(turn(), ElementsAre("returned task_crashed 1", "returned ok 2", "window 7:0"));
}

TEST_F(CoreTest, ACrashChargesTheNextFrameOnceItRuns) {
  serve_session(true);
  teach(10 * kMs);
  dispatch(7, {1, 3});
  turn();
  answer(1, {1, 1});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 next 3", ::testing::StartsWith("results 1 ")));
  exited(1);
  EXPECT_THAT(turn(), ElementsAre("returned task_crashed 2", "returned ok 3", "window 7:0"));
}

TEST_F(CoreTest, ATaskThatWasInHandAtACrashHasNobodyBehindIt) {
  serve_session(true);
  teach(10 * kMs);
  dispatch(7, {1, 1}, 2);
  dispatch(7, {5, 1});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 1"));
  answer(1, {1, 1});
  dispatch(7, {9, 1}, 2);
  EXPECT_THAT(turn(), ElementsAre("invoke 1 5", ::testing::StartsWith("results 1 ")));
  answer(1, {5, 1});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 9", ::testing::StartsWith("results 5 ")));
}

TEST_F(CoreTest, ATaskWithOneBehindItKeepsItsTimeout) {
  application_.task_timeout_ms = 15;
  serve_session(true);
  teach(10 * kMs);
  dispatch(7, {1, 2});
  turn();
  EXPECT_THAT(after(14 * kMs), IsEmpty());
  EXPECT_THAT(after(1 * kMs), ElementsAre("kill 1"));
  exited(1, "killed by signal 9");
  EXPECT_THAT(turn(), ElementsAre("returned task_timeout 1", "returned ok 2", "window 7:0"));
}

TEST_F(CoreTest, ASlotIsLeftWhenWhatItsServiceHasIsDone) {
  serve_session(true);
  teach(10 * kMs);
  dispatch(7, {1, 2});
  turn();
  context(8);
  bind(0, 2, 8);
  EXPECT_THAT(turn(), IsEmpty());
  answer(1, {1, 1});
  EXPECT_THAT(turn(), ElementsAre(::testing::StartsWith("results 1 ")));
  answer(1, {2, 1});
  EXPECT_THAT(turn(), ElementsAre("leave 1", ::testing::StartsWith("results 2 ")));
}

// Its wait for a core would make frames shorter, the share of waiting larger, and so on.
TEST_F(CoreTest, ABusyMachineDoesNotShrinkFramesOfAServiceThatMeasuresItself) {
  serve_session();
  proto::TaskId id = 1;
  for (int i = 0; i < 50; i++) {
    dispatch(7, {id, 500});
    turn();
    auto invoke = std::get<Invoke>(last_.front());
    pass(20 * kMs);
    shims::Results results{id, invoke.frames[0].count, {}, {}, 0};
    for (uint32_t k = 0; k < results.count; k++) results.service_us += 2;
    std::string elements;
    for (uint32_t k = 0; k < results.count; k++) proto::append_element(elements, "o");
    results.elements = proto::Bytes::own(std::move(elements));
    feed(InstanceEvent{1, results});
    say(proto::TakeBack{7});
    recorded(7, {1, 1'000'000});
    turn();
    id += 500;
  }
  dispatch(7, {id, 1000});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 " + to_string(proto::Run{id, 1000})));
}

TEST_F(CoreTest, ANewSessionBeginsWithWhatItsApplicationNeeded) {
  serve_session();
  teach(4);
  context(8);
  bind(0, 2, 8);
  turn();
  left(1);
  turn();
  entered(1);
  EXPECT_THAT(turn(), ElementsAre("bound 0=8.2 ok", "window 8:1750"));
}

TEST_F(CoreTest, ATaskThatWasInHandAtACrashGoesAlone) {
  serve_session();
  teach(4);
  dispatch(7, {1, 100}, 2);
  dispatch(7, {200, 10});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 1"));
  answer(1, {1, 1});
  EXPECT_THAT(after(4), ElementsAre("invoke 1 2", ::testing::StartsWith("results 1 ")));
}

TEST_F(CoreTest, SmallRunsAreHandedOverTogether) {
  serve_session();
  teach(4);
  for (proto::TaskId id = 1; id <= 5; id++) dispatch(7, {id * 10, 2});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 10-11 20-21 30-31 40-41 50-51"));
}

TEST_F(TwoSlots, IdleSlotsShareTheQueue) {
  serve_session();
  teach(4);
  bind(1, 1, 7);
  turn();
  entered(2);
  turn();
  dispatch(7, {1, 100});
  EXPECT_THAT(turn(), ElementsAre("invoke 2 1-50", "invoke 1 51-100"));
}

TEST_F(TwoSlots, WhatIsReadyInOneTurnLeavesInOneMessage) {
  serve_session();
  teach(4);
  bind(1, 1, 7);
  turn();
  entered(2);
  turn();
  dispatch(7, {1, 100});
  turn();
  pass(200);
  answer(1, {51, 50});
  answer(2, {1, 50});
  EXPECT_THAT(turn(), ElementsAre(::testing::StartsWith("results 1-100 ")));
  EXPECT_EQ(last<proto::TaskResults>().times,
            (std::vector<proto::FrameTime>{{50, 4, 204}, {50, 4, 204}}));
}

TEST_F(CoreTest, ResultsAreCutToTheLimitsOfARun) {
  serve_session();
  teach(4);
  dispatch(7, {1, 10});
  turn();
  answer(1, {1, 10}, {}, std::string(60 * 1024, 'o'));
  EXPECT_THAT(after(40), ElementsAre(::testing::StartsWith("results 1-4 "),
                                     ::testing::StartsWith("results 5-8 "),
                                     ::testing::StartsWith("results 9-10 ")));
}

TEST_F(CoreTest, LongReasonsAreCutToTheLimitOfAHeader) {
  serve_session();
  teach(4);
  dispatch(7, {1, 100});
  turn();
  std::vector<shims::Failure> failures;
  for (uint32_t i = 0; i < 100; i++) {
    failures.push_back({i, proto::Code::kTaskFailed, std::string(2 * proto::kReasonBytesMax, 'r')});
  }
  answer(1, {1, 100}, failures, "");
  auto lines = after(40);
  EXPECT_EQ(lines.size(), 4u);
  EXPECT_THAT(lines[0], ::testing::StartsWith("results 1-31 "));
}

TEST_F(CoreTest, StartsNothingNewWhileTooMuchIsUnacknowledged) {
  serve_session();
  teach(10 * kMs);
  dispatch(7, {1, 3});
  turn();
  answer(1, {1, 1}, {}, std::string(proto::kUnackedResultBytesMax, 'o'));
  EXPECT_THAT(after(kMs), ElementsAre(::testing::StartsWith("results 1 ")));
  recorded(7, {1, 1});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 2"));
}

// ---- bindings
// -----------------------------------------------------------------------------------------------

TEST_F(CoreTest, ARepeatedBindIsEchoedAgain) {
  serve_session();
  bind(0, 1, 7);
  EXPECT_THAT(turn(), ElementsAre("bound 0=7.1 ok"));
}

TEST_F(CoreTest, AnotherSessionOfTheApplicationKeepsTheProcess) {
  serve_session();
  dispatch(7, {1, 3});
  turn();
  context(8);
  bind(0, 2, 8);
  EXPECT_THAT(turn(), ElementsAre("returned ok 2-3"));
  answer(1, {1, 1});
  EXPECT_THAT(turn(), ElementsAre("leave 1", "results 1 window 0"));
  left(1);
  EXPECT_THAT(turn(), ElementsAre("enter 1 s8"));
  entered(1);
  EXPECT_THAT(turn(), ElementsAre("bound 0=8.2 ok", ::testing::StartsWith("window 8:")));
}

TEST_F(CoreTest, AnotherOwnerOrApplicationGetsItsOwnProcess) {
  serve_session();
  context(8, "somebody");
  bind(0, 2, 8);
  EXPECT_THAT(turn(), ElementsAre("leave 1"));
  left(1);
  EXPECT_THAT(turn(), ElementsAre("stop 1", "start 2 app", "enter 2 s8"));
  entered(2);
  turn();
  EXPECT_THAT(after(int64_t{proto::kStopGraceMs} * kMs), ElementsAre("kill 1", "beat"));
}

TEST_F(CoreTest, AnUnboundProcessStaysWarmForAnySlot) {
  config_.slots = 2;
  serve_session();
  bind(0, 2, 0);
  EXPECT_THAT(turn(), ElementsAre("leave 1"));
  left(1);
  EXPECT_THAT(turn(), ElementsAre("bound 0=0.2 ok"));
  context(8);
  bind(1, 1, 8);
  EXPECT_THAT(turn(), ElementsAre("enter 1 s8"));
}

TEST_F(CoreTest, WithoutReuseAProcessEndsWithItsSession) {
  application_.reuse = false;
  serve_session();
  bind(0, 2, 0);
  turn();
  left(1);
  EXPECT_THAT(turn(), ElementsAre("stop 1", "bound 0=0.2 ok"));
}

TEST_F(CoreTest, OtherCommonDataIsEnteredOnceNothingRunsInTheInstance) {
  serve_session();
  dispatch(7, {1, 1});
  turn();
  context(7, "", 2);
  dispatch(7, {2, 1});
  EXPECT_THAT(turn(), ElementsAre("window 7:0")) << "task 1 runs with the old one";
  answer(1, {1, 1});
  EXPECT_THAT(turn(), ElementsAre("leave 1", "results 1 window 0"));
  left(1);
  EXPECT_THAT(turn(), ElementsAre("enter 1 s7"));
  entered(1);
  EXPECT_THAT(turn(), Contains("invoke 1 2"));
  context(7, "", 2);
  EXPECT_THAT(turn(), Not(Contains("leave 1"))) << "said again";
}

TEST_F(CoreTest, AContextThatChangesWhileItIsEnteredIsEnteredAgain) {
  turn();
  welcome();
  context(7);
  bind(0, 1, 7);
  EXPECT_THAT(turn(), ElementsAre("start 1 app", "enter 1 s7"));
  context(7, "", 2);
  entered(1);
  EXPECT_THAT(turn(), ElementsAre("leave 1"));
  left(1);
  EXPECT_THAT(turn(), ElementsAre("enter 1 s7"));
  entered(1);
  EXPECT_THAT(turn(), Contains("bound 0=7.1 ok"));
}

TEST_F(CoreTest, AnotherApplicationIsAnotherProcess) {
  serve_session();
  application_.arguments = {"--new"};
  context(7, "", 2);
  EXPECT_THAT(turn(), Contains("leave 1"));
  left(1);
  EXPECT_THAT(turn(), ElementsAre("stop 1", "start 2 app", "enter 2 s7"));
}

TEST_F(CoreTest, AChangedApplicationIsTriedAtOnce) {
  turn();
  welcome();
  context(7);
  bind(0, 1, 7);
  turn();
  exited(1, "no such file");
  EXPECT_THAT(turn(), ElementsAre("bound 0=7.1 task_service_failed"));
  application_.command = "right";
  context(7, "", 2);
  EXPECT_THAT(turn(), ElementsAre("start 2 app", "enter 2 s7"));
}

TEST_F(CoreTest, AHelloSaysWhichContextsItHas) {
  serve_session();
  context(7, "", 5);
  say(proto::Resync{"test"});
  turn();
  EXPECT_THAT(after(10 * kMs), ElementsAre("hello slot 0=7 hand"));
  EXPECT_EQ(last<proto::ExecutorHello>().contexts, (std::vector<proto::HeldContext>{{7, 5}}));
}

TEST_F(CoreTest, TheLastProgressOfEachTaskLeavesEveryTenthOfASecond) {
  serve_session();
  dispatch(7, {1, 1});
  turn();
  auto progress = [&](proto::TaskId task, uint64_t percent) {
    feed(InstanceEvent{1, shims::Progressed{task, percent, "text"}});
  };
  progress(1, 5);
  progress(1, 10);
  progress(99, 50);
  EXPECT_THAT(turn(), ElementsAre("task_progress")) << "99 is not here";
  EXPECT_EQ(last<proto::TaskProgress>().reports,
            (std::vector<proto::ProgressReport>{{1, 10, "text"}}));
  progress(1, 250);
  EXPECT_THAT(turn(), IsEmpty());
  EXPECT_THAT(after(100 * kMs), ElementsAre("task_progress"));
  EXPECT_EQ(last<proto::TaskProgress>().reports.at(0).percent, 100u);
}

TEST_F(CoreTest, AProgressThatComesTooLateKeepsNoLeavingExecutorBusy) {
  serve_session();
  dispatch(7, {1, 1});
  turn();
  for (uint64_t percent : {10, 99})
    feed(InstanceEvent{1, shims::Progressed{1, percent, ""}}), turn();
  feed(Terminate{});
  answer(1, {1, 1});
  turn();
  recorded(7, {1, 1});
  EXPECT_THAT(turn(), Contains("bye"));
  after(200 * kMs);
  EXPECT_GT(core_->next_deadline_us(), now_.mono_us);
}

TEST_F(CoreTest, TheLastUnbindReturnsWhatWasNotStarted) {
  serve_session();
  dispatch(7, {1, 10});
  dispatch(7, {20, 5});
  turn();
  bind(0, 2, 0);
  EXPECT_THAT(turn(), ElementsAre("returned ok 2-10 20-24"));
  dispatch(7, {30, 1});
  EXPECT_THAT(turn(), ElementsAre("returned ok 30"));
}

TEST_F(CoreTest, ABindingThatChangesBackBeforeTheFrameEndsChangesNothing) {
  serve_session();
  dispatch(7, {1, 1});
  turn();
  bind(0, 2, 0);
  turn();
  context(7);
  bind(0, 3, 7);
  EXPECT_THAT(turn(), ElementsAre("bound 0=7.3 ok", "window 7:1"));
  answer(1, {1, 1});
  EXPECT_THAT(after(100), ElementsAre(::testing::StartsWith("results 1 ")));
  dispatch(7, {2, 1});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 2"));
}

TEST_F(TwoSlots, ASessionMayMoveToAnotherSlotInOneMessage) {
  serve_session();
  dispatch(7, {1, 3});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 1"));
  say(proto::Bind{{{0, 2, 0}, {1, 1, 7}}});
  EXPECT_THAT(turn(), ElementsAre("start 2 app", "enter 2 s7", "window 7:0"));
  entered(2);
  EXPECT_THAT(turn(), ElementsAre("invoke 2 2", "bound 1=7.1 ok", "window 7:1"));
}

TEST_F(CoreTest, ABindingWithoutContextIsRefusedUntilItComes) {
  turn();
  welcome();
  bind(0, 1, 7);
  EXPECT_THAT(turn(), ElementsAre("bound 0=7.1 not_found"));
  context(7);
  EXPECT_THAT(turn(), ElementsAre("start 1 app", "enter 1 s7"));
}

// ---- taking back
// --------------------------------------------------------------------------------------------

TEST_F(CoreTest, ATakeBackGetsExactlyWhatWasNotStarted) {
  serve_session();
  dispatch(7, {1, 10});
  turn();
  say(proto::TakeBack{7});
  EXPECT_THAT(turn(), ElementsAre("returned ok 2-10"));
  say(proto::TakeBack{7});
  EXPECT_THAT(turn(), ElementsAre("returned ok"));
}

TEST_F(CoreTest, CancelledRunsAreForgottenAndEachIsAnsweredOnceItIsOver) {
  serve_session();
  teach(4);
  dispatch(7, {1, 4});
  turn();
  dispatch(7, {10, 10});
  say(proto::CancelRuns{7, {{2, 1}, {12, 2}, {19, 1}}});
  // What waited here is over at once; the service is told of what it has.
  EXPECT_THAT(turn(), ElementsAre("cancel 1 2", "returned task_cancelled 12-13 19"));
  say(proto::CancelRuns{7, {{2, 1}}});  // again, after a new hello
  EXPECT_THAT(turn(), IsEmpty());
  answer(1, {1, 4});
  EXPECT_THAT(after(16),
              ElementsAre("invoke 1 10-11 14-18", ::testing::StartsWith("results 1 "),
                          ::testing::StartsWith("results 3-4 "), "returned task_cancelled 2"));
  say(proto::CancelRuns{7, {{1, 4}}});
  EXPECT_THAT(turn(), ElementsAre("returned task_cancelled 1-4"));
}

TEST_F(CoreTest, AServiceThatGoesOnWithACancelledTaskIsKilledAndNothingElseIsCharged) {
  serve_session();
  teach(4);
  dispatch(7, {1, 4});
  turn();
  dispatch(7, {10, 1});
  say(proto::CancelRuns{7, {{2, 1}}});
  EXPECT_THAT(turn(), ElementsAre("cancel 1 2"));
  // The one before it is not cancelled and has all the time it wants.
  EXPECT_THAT(after(6'000 * kMs), Not(Contains("kill 1")));
  answer(1, {1, 1});
  EXPECT_THAT(turn(), Contains(::testing::StartsWith("results 1 ")));
  EXPECT_THAT(after(4'900 * kMs), Not(Contains("kill 1")));
  EXPECT_THAT(after(101 * kMs), Contains("kill 1"));
  exited(1, "killed by signal 9");
  // Started again at once, and the tasks behind it go back uncharged.
  EXPECT_THAT(turn(), ElementsAre("start 2 app", "enter 2 s7", "returned ok 2-4", "window 7:0"));
  entered(2);
  EXPECT_THAT(turn(), Contains("invoke 2 10"));
}

// ---- failures
// -----------------------------------------------------------------------------------------------

TEST_F(CoreTest, ACrashReturnsWhatWasInHandAndRestartsAfterAWhile) {
  serve_session();
  teach(4);
  dispatch(7, {1, 4});
  turn();
  dispatch(7, {10, 2});
  turn();
  answer(1, {1, 1});
  exited(1, "exit code 3");
  EXPECT_THAT(turn(),
              ElementsAre(::testing::StartsWith("results 1 "), "returned task_crashed 2-4"));
  EXPECT_EQ(last<proto::Returned>().reason, "exit code 3");
  EXPECT_THAT(after(50 * kMs), IsEmpty());
  EXPECT_THAT(after(50 * kMs), ElementsAre("start 2 app", "enter 2 s7"));
  entered(2);
  EXPECT_THAT(turn(), ElementsAre("invoke 2 10-11", ::testing::StartsWith("window 7:")));
}

TEST_F(CoreTest, AServiceThatDoesNotStartIsTriedLessAndLessOften) {
  turn();
  welcome();
  context(7);
  bind(0, 1, 7);
  turn();
  InstanceId id = 1;
  for (int64_t wait_ms : {100, 200, 400, 800, 1600, 3200, 5000, 5000}) {
    exited(id, "no such file");
    EXPECT_THAT(turn(), ElementsAre("bound 0=7.1 task_service_failed"));
    auto at = now_.mono_us + wait_ms * kMs;
    Lines seen;
    while (now_.mono_us < at) {
      say(proto::Beat{1});
      auto lines = after(std::min<int64_t>(at - now_.mono_us, 500 * kMs));
      for (auto& line : lines) {
        if (line != "beat") seen.push_back(line);
      }
    }
    id++;
    EXPECT_THAT(seen, ElementsAre("start " + std::to_string(id) + " app",
                                  "enter " + std::to_string(id) + " s7"));
  }
}

TEST_F(CoreTest, TasksOfAServiceThatNoLongerStartGoElsewhere) {
  serve_session();
  dispatch(7, {1, 3});
  turn();
  exited(1);
  EXPECT_THAT(turn(), ElementsAre("returned task_crashed 1", "window 7:0"));
  EXPECT_THAT(after(100 * kMs), ElementsAre("start 2 app", "enter 2 s7"));
  exited(2, "no license");
  EXPECT_THAT(turn(),
              ElementsAre("bound 0=7.1 task_service_failed", "returned task_service_failed 2-3"));
}

TEST_F(CoreTest, ARefusedSessionIsSaidWithItsReason) {
  turn();
  welcome();
  context(7);
  bind(0, 1, 7);
  turn();
  feed(InstanceEvent{1, shims::Entered{false, "no such model"}});
  EXPECT_THAT(turn(), ElementsAre("stop 1", "bound 0=7.1 task_service_failed"));
  EXPECT_THAT(last<proto::Bound>().reason, ::testing::HasSubstr("no such model"));
}

TEST_F(CoreTest, AServiceThatNeverEntersIsKilled) {
  turn();
  welcome();
  context(7);
  bind(0, 1, 7);
  turn();
  Lines seen;
  for (int i = 0; i < 30; i++) {
    say(proto::Beat{1});
    for (auto& line : after(kSecond)) {
      if (line != "beat") seen.push_back(line);
    }
  }
  EXPECT_THAT(seen, ElementsAre("kill 1"));
  exited(1, "killed by signal 9");
  EXPECT_THAT(turn(), ElementsAre("bound 0=7.1 task_service_failed"));
  EXPECT_THAT(last<proto::Bound>().reason, ::testing::HasSubstr("within 30 s"));
}

TEST_F(CoreTest, ATaskBeyondItsTimeoutIsKilledWithItsService) {
  application_.task_timeout_ms = 100;
  serve_session();
  dispatch(7, {1, 2});
  turn();
  EXPECT_THAT(after(99 * kMs), IsEmpty());
  EXPECT_THAT(after(1 * kMs), ElementsAre("kill 1"));
  exited(1, "killed by signal 9");
  EXPECT_THAT(turn(), ElementsAre("returned task_timeout 1", "window 7:0"));
  EXPECT_THAT(last<proto::Returned>().reason, ::testing::HasSubstr("100 ms"));
}

TEST_F(CoreTest, EachTaskOfAFrameHasItsOwnTimeout) {
  application_.task_timeout_ms = 100;
  serve_session();
  teach(4);
  dispatch(7, {1, 3});
  turn();
  pass(90 * kMs);
  answer(1, {1, 1});
  turn();
  pass(90 * kMs);
  answer(1, {2, 1});
  EXPECT_THAT(turn(), ElementsAre(::testing::StartsWith("results 2 ")));
}

// ---- leaving
// ------------------------------------------------------------------------------------------------

TEST_F(CoreTest, SigtermDrains) {
  serve_session();
  dispatch(7, {1, 3});
  turn();
  feed(Terminate{});
  EXPECT_THAT(turn(), ElementsAre("draining", "returned ok 2-3", "window 7:0"));
  dispatch(7, {9, 1});
  EXPECT_THAT(turn(), ElementsAre("returned ok 9"));
  answer(1, {1, 1});
  EXPECT_THAT(turn(), ElementsAre("results 1 window 0"));
  recorded(7, {1, 1});
  EXPECT_THAT(turn(), ElementsAre("stop 1", "bye"));
  exited(1);
  EXPECT_THAT(turn(), ElementsAre("exit 0"));
}

TEST_F(CoreTest, ADrainWaitsForRecordsFiveSecondsAtMost) {
  serve_session();
  dispatch(7, {1, 1});
  turn();
  answer(1, {1, 1});
  turn();
  feed(Terminate{});
  EXPECT_THAT(turn(), ElementsAre("draining", "window 7:0"));
  for (int i = 0; i < 4; i++) {
    say(proto::Beat{1});
    EXPECT_THAT(after(kSecond), ElementsAre("beat"));
  }
  say(proto::Beat{1});
  EXPECT_THAT(after(kSecond), ElementsAre("stop 1", "beat", "bye"));
}

TEST_F(CoreTest, AskedToLeaveIfIdleABusyOneStays) {
  serve_session();
  dispatch(7, {1, 1});
  turn();
  feed(LeaveIfIdle{});
  EXPECT_THAT(turn(), IsEmpty());
  answer(1, {1, 1});
  turn();
  feed(LeaveIfIdle{});
  EXPECT_THAT(turn(), IsEmpty()) << "its result is not recorded yet";
  recorded(7, {1, 1});
  turn();
  feed(LeaveIfIdle{});
  EXPECT_THAT(turn(), ElementsAre("stop 1", "draining", "bye", "window 7:0"));
}

TEST_F(CoreTest, WhatComesWhileItLeavesAsIdleGoesBackUncharged) {
  serve_session();
  feed(LeaveIfIdle{});
  turn();
  dispatch(7, {1, 1});
  exited(1);
  EXPECT_THAT(turn(), ElementsAre("exit 0")) << "after its bye the broker takes everything back";
}

TEST_F(CoreTest, ASecondSigtermStopsAtOnce) {
  serve_session();
  feed(Terminate{});
  feed(Terminate{});
  EXPECT_THAT(turn(), ::testing::IsSupersetOf({"kill 1", "exit 1"}));
}

TEST_F(CoreTest, LeavesAfterIdleExit) {
  config_.idle_exit_us = 2 * kSecond;
  serve_session();
  bind(0, 2, 0);
  turn();
  left(1);
  turn();
  say(proto::Beat{1});
  EXPECT_THAT(after(kSecond), ElementsAre("beat"));
  say(proto::Beat{1});
  EXPECT_LE(core().next_deadline_us(), now_.mono_us + kSecond);
  EXPECT_THAT(after(kSecond), ElementsAre("stop 1", "draining", "beat", "bye"));
}

}  // namespace
// ---- several tasks at the same time
// -----------------------------------------------------------------------------

class Concurrent : public CoreTest {
 protected:
  explicit Concurrent(uint64_t slots = 1) : CoreTest(slots) {
    application_.shim = "grpc";
    application_.concurrency = 3;
  }
};
class TwoConcurrent : public Concurrent {
 protected:
  TwoConcurrent() : Concurrent(2) {}
};

TEST_F(Concurrent, TasksAreHandedOverOneByOneAsOthersEnd) {
  serve_session();
  dispatch(7, {1, 6});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 1", "invoke 1 2", "invoke 1 3"));
  pass(3 * kMs);
  answer(1, {2, 1});
  EXPECT_THAT(turn(), Contains("invoke 1 4"));
  answer(1, {1, 1});
  answer(1, {4, 1});
  answer(1, {9, 1});  // nobody asked
  auto lines = after(2 * kMs);
  EXPECT_THAT(lines, Contains("invoke 1 5"));
  EXPECT_THAT(lines, Contains("invoke 1 6"));
  EXPECT_THAT(lines, Contains(::testing::StartsWith("results 1-2 ")));
  EXPECT_THAT(lines, Contains(::testing::StartsWith("results 4 ")));
  EXPECT_THAT(lines, Not(Contains(::testing::StartsWith("results 9"))));
}

TEST_F(Concurrent, TheBrokerIsAskedForAsManyAsItHasAtATime) {
  turn();
  welcome();
  context(7);
  bind(0, 1, 7);
  turn();
  entered(1);
  EXPECT_THAT(turn(), ElementsAre("bound 0=7.1 ok", "window 7:3"));
}

TEST_F(TwoConcurrent, TheOneWithFewerGetsTheNext) {
  serve_session();
  bind(1, 1, 7);
  turn();
  entered(2);
  turn();
  dispatch(7, {1, 4});
  EXPECT_THAT(turn(), ElementsAre("invoke 1 1", "invoke 2 2", "invoke 1 3", "invoke 2 4"));
}

TEST_F(Concurrent, WhatIsInHandAtACrashIsChargedAndGoesAlone) {
  serve_session();
  dispatch(7, {1, 3});
  turn();
  answer(1, {2, 1});
  exited(1);
  EXPECT_THAT(turn(), ElementsAre("results 2 window 0", "returned task_crashed 1 3"));
  EXPECT_THAT(after(kSecond), Contains("start 2 app"));
  entered(2);
  turn();
  dispatch(7, {10, 1});
  dispatch(7, {1, 1}, 2);
  dispatch(7, {11, 2});
  EXPECT_THAT(turn(), ElementsAre("invoke 2 10"));
  answer(2, {10, 1});
  EXPECT_THAT(after(100), Contains("invoke 2 1"));
  answer(2, {1, 1});
  auto lines = after(100);
  EXPECT_THAT(lines, Contains("invoke 2 11"));
  EXPECT_THAT(lines, Contains("invoke 2 12"));
}

TEST_F(Concurrent, EachTaskHasItsOwnTimeout) {
  application_.task_timeout_ms = 100;
  serve_session();
  dispatch(7, {1, 1});
  turn();
  pass(60 * kMs);
  dispatch(7, {2, 1});
  turn();
  answer(1, {1, 1});
  EXPECT_THAT(after(99 * kMs), Not(Contains("kill 1")));
  EXPECT_THAT(after(kMs), Contains("kill 1"));
}

TEST_F(Concurrent, ACancelledTaskThatGoesOnEndsItsServiceAndChargesNobody) {
  serve_session();
  dispatch(7, {1, 3});
  turn();
  say(proto::CancelRuns{7, {{2, 1}}});
  EXPECT_THAT(turn(), ElementsAre("cancel 1 2"));
  EXPECT_THAT(after(int64_t{proto::kCancelGraceMs} * kMs), Contains("kill 1"));
  exited(1, "killed by signal 9");
  EXPECT_THAT(turn(), Contains("returned ok 1 2 3"));
}

TEST_F(Concurrent, ASessionLeavesOnceAllAreAnswered) {
  serve_session();
  dispatch(7, {1, 2});
  turn();
  bind(0, 2, 0);
  EXPECT_THAT(turn(), IsEmpty());
  answer(1, {2, 1});
  EXPECT_THAT(after(100), Not(Contains("leave 1")));
  answer(1, {1, 1});
  EXPECT_THAT(after(100), Contains("leave 1"));
}

TEST_F(Concurrent, AnswersOfShortTasksWaitForEachOther) {
  auto results = Contains(::testing::StartsWith("results "));
  serve_session();
  dispatch(7, {1, 8});
  turn();
  answer(1, {1, 1});
  EXPECT_THAT(after(100), Not(results));
  answer(1, {2, 1});
  EXPECT_THAT(after(1000), Not(results));
  answer(1, {3, 1});
  EXPECT_THAT(after(899), Not(results));
  EXPECT_EQ(core().next_deadline_us(), now_.mono_us + 1);
  EXPECT_THAT(after(1), ElementsAre(::testing::StartsWith("results 1-3 ")));
  // The last one for now does not wait.
  for (proto::TaskId id = 4; id <= 6; id++) answer(1, {id, 1});
  EXPECT_THAT(after(100), Not(results));
  answer(1, {7, 1});
  answer(1, {8, 1});
  EXPECT_THAT(after(100), Contains(::testing::StartsWith("results 4-8 ")));
}

}  // namespace flame::executor::test

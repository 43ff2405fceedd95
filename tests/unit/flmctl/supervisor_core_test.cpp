// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/supervisor_core.hpp"

#include <gmock/gmock.h>
#include <signal.h>

namespace flame::flmctl {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int64_t kMs = proto::kUsPerMs;
constexpr int64_t kS = proto::kUsPerSecond;

std::string text_of(const SupervisorAction& action) {
  if (auto* start = std::get_if<StartProcess>(&action)) return "start " + start->name;
  if (auto* death = std::get_if<ReportDeath>(&action)) {
    return death->name + " " + death->how + ", again in " + std::to_string(death->wait_us / kMs) +
           " ms";
  }
  if (auto* gone = std::get_if<ReportEnd>(&action)) return gone->name + ": " + gone->text;
  if (auto* back = std::get_if<ReportReturn>(&action)) return back->name + " returned";
  const auto& order = std::get<SignalProcess>(action);
  if (order.signal == SIGUSR1) return "LEAVE " + order.name;
  return (order.signal == SIGTERM ? "TERM " : "KILL ") + order.name;
}

class SupervisorCoreTest : public ::testing::Test {
 protected:
  void make(bool own_redis, uint64_t executors) { core_ = SupervisorCore(own_redis, executors); }
  void pass(int64_t us) {
    now_.mono_us += us;
    core_.on_time(now_, actions_);
  }
  void ready(const std::string& name) { core_.on_ready(name, now_, actions_); }
  void exits(const std::string& name) { core_.on_exit(name, "died", now_, actions_); }
  void stop() { core_.stop(now_, actions_); }
  /// Everything up, nothing left to do.
  void run_all() {
    core_.begin(now_, actions_);
    for (const char* name : {"redis", "broker", "executor-1", "executor-2", "executor-3"})
      ready(name);
    done();
  }
  /// What the core wanted since the last call.
  std::vector<std::string> done() {
    std::vector<std::string> out;
    for (const auto& action : actions_) out.push_back(text_of(action));
    actions_.clear();
    return out;
  }
  std::string state(const std::string& name) {
    for (const auto& process : core_.processes()) {
      if (process.name == name) return std::string(name_of(process.state));
    }
    return "unknown";
  }

  SupervisorCore core_{true, 1};
  SupervisorActions actions_;
  proto::Now now_{1000 * kS, 0};
};

TEST_F(SupervisorCoreTest, EachStartsWhenWhatItNeedsIsReady) {
  core_.begin(now_, actions_);
  EXPECT_THAT(done(), ElementsAre("start redis"));
  ready("redis");
  EXPECT_THAT(done(), ElementsAre("start broker"));
  EXPECT_THAT(core_.not_ready(), ElementsAre("broker", "executor-1"));
  ready("broker");
  EXPECT_THAT(done(), ElementsAre("start executor-1"));
  EXPECT_FALSE(core_.all_ready());
  ready("executor-1");
  EXPECT_TRUE(core_.all_ready());
  EXPECT_THAT(done(), IsEmpty());
  EXPECT_EQ(core_.next_deadline_us(), INT64_MAX);
}

TEST_F(SupervisorCoreTest, WithAnotherRedisTheBrokerStartsAtOnce) {
  make(false, 0);
  core_.begin(now_, actions_);
  EXPECT_THAT(done(), ElementsAre("start broker"));
  ready("broker");
  EXPECT_TRUE(core_.all_ready());
}

TEST_F(SupervisorCoreTest, ADeadOneIsNamedAndStartsAgainAfterItsWait) {
  run_all();
  exits("broker");
  EXPECT_THAT(done(), ElementsAre("broker died, again in 100 ms"));
  pass(99 * kMs);
  EXPECT_THAT(done(), IsEmpty());
  EXPECT_EQ(core_.next_deadline_us(), now_.mono_us + kMs);
  pass(kMs);
  EXPECT_THAT(done(), ElementsAre("start broker"));
  ready("broker");
  EXPECT_THAT(done(), ElementsAre("broker returned"));
}

TEST_F(SupervisorCoreTest, DeathsInARowWaitLongerAndAHealthyTimeForgetsThem) {
  run_all();
  for (const char* wait : {"100", "200", "400", "800", "1600", "3200", "6400", "10000", "10000"}) {
    exits("executor-1");
    EXPECT_THAT(done(), ElementsAre("executor-1 died, again in " + std::string(wait) + " ms"));
    pass(10 * kS);
    EXPECT_THAT(done(), ElementsAre("start executor-1"));
    ready("executor-1");
    done();
  }
  pass(3 * kS);
  exits("executor-1");
  EXPECT_THAT(done(), ElementsAre("executor-1 died, again in 100 ms"));
}

TEST_F(SupervisorCoreTest, AskingAgainEndsTheWait) {
  run_all();
  for (int i = 0; i < 8; i++) exits("executor-1"), pass(10 * kS);
  exits("executor-1");
  done();
  core_.retry_now(now_, actions_);
  EXPECT_THAT(done(), ElementsAre("start executor-1"));
}

TEST_F(SupervisorCoreTest, AReplacedBrokerStartsOnlyWhenSomebodyAsks) {
  make(true, 1);
  run_all();
  core_.on_replaced("broker", "another has it", now_, actions_);
  EXPECT_THAT(done(), ElementsAre("broker: another has it"));
  EXPECT_EQ(state("broker"), "replaced");
  pass(3600 * kS);
  exits("executor-1");
  core_.set_executors(2, now_, actions_);
  EXPECT_THAT(done(), ElementsAre("executor-1 died, again in 100 ms", "start executor-2"));
  pass(kS);
  EXPECT_THAT(done(), ElementsAre("start executor-1"));
  EXPECT_FALSE(core_.all_ready());
  EXPECT_TRUE(core_.replaced());
  core_.retry_now(now_, actions_);
  EXPECT_THAT(done(), ElementsAre("start broker"));
  EXPECT_FALSE(core_.replaced());
  ready("broker");
  EXPECT_THAT(done(), ElementsAre("broker returned"));
  // Its next death is one like any other.
  exits("broker");
  EXPECT_THAT(done(), ElementsAre("broker died, again in 100 ms"));
}

TEST_F(SupervisorCoreTest, ADrainedExecutorStaysAwayUntilSomebodyAsks) {
  make(true, 2);
  run_all();
  core_.on_left("executor-1", "exited with code 0", now_, actions_);
  EXPECT_THAT(done(), ElementsAre(testing::StartsWith("executor-1: exited with code 0: it was")));
  EXPECT_EQ(state("executor-1"), "left");
  pass(3600 * kS);
  EXPECT_THAT(done(), IsEmpty());
  EXPECT_TRUE(core_.all_ready()) << "it was meant";
  core_.retry_now(now_, actions_);
  EXPECT_THAT(done(), ElementsAre("start executor-1"));
  core_.set_executors(1, now_, actions_);
  EXPECT_THAT(done(), ElementsAre("TERM executor-2"));
  core_.on_left("executor-2", "exited with code 0", now_, actions_);
  EXPECT_THAT(done(), IsEmpty()) << "that one was asked";
  // Scaled ones are the autoscaler's, which has others started where they are wanted.
  core_.add_scaled("app", 1, now_, actions_);
  done();
  ready("scaled-1");
  core_.on_left("scaled-1", "exited with code 0", now_, actions_);
  EXPECT_THAT(done(), IsEmpty());
  EXPECT_EQ(state("scaled-1"), "unknown");
}

TEST_F(SupervisorCoreTest, StopWhileTheBrokerIsReplaced) {
  make(true, 1);
  run_all();
  core_.on_replaced("broker", "another has it", now_, actions_);
  done();
  stop();
  EXPECT_THAT(done(), ElementsAre("TERM executor-1"));
  exits("executor-1");
  EXPECT_THAT(done(), ElementsAre("TERM redis"));
  // Replaced while it stops, it has stopped.
  make(true, 0);
  core_.begin(now_, actions_);
  ready("redis");
  ready("broker");
  done();
  stop();
  core_.on_replaced("broker", "another has it", now_, actions_);
  EXPECT_THAT(done(), ElementsAre("TERM broker", "TERM redis"));
  EXPECT_EQ(state("broker"), "stopped");
}

TEST_F(SupervisorCoreTest, ExecutorsOutliveBrokerAndRedis) {
  run_all();
  exits("redis");
  exits("broker");
  EXPECT_EQ(state("executor-1"), "running");
  done();
  pass(kS);
  // The broker waits for Redis itself, so both start together.
  EXPECT_THAT(done(), ElementsAre("start redis", "start broker"));
}

TEST_F(SupervisorCoreTest, StopGoesFromTheExecutorsToRedis) {
  make(true, 2);
  run_all();
  stop();
  EXPECT_THAT(done(), ElementsAre("TERM executor-1", "TERM executor-2"));
  exits("executor-1");
  EXPECT_THAT(done(), IsEmpty());
  exits("executor-2");
  EXPECT_THAT(done(), ElementsAre("TERM broker"));
  exits("broker");
  EXPECT_THAT(done(), ElementsAre("TERM redis"));
  EXPECT_FALSE(core_.all_stopped());
  exits("redis");
  EXPECT_TRUE(core_.all_stopped());
  EXPECT_THAT(done(), IsEmpty());
}

TEST_F(SupervisorCoreTest, AnExecutorThatDrainsTooLongIsToldAgainAndThenKilled) {
  run_all();
  stop();
  done();
  pass(5 * kS - 1);
  EXPECT_THAT(done(), IsEmpty());
  pass(1);
  EXPECT_THAT(done(), ElementsAre("TERM executor-1"));
  pass(2 * kS);
  EXPECT_THAT(done(), ElementsAre("KILL executor-1"));
}

TEST_F(SupervisorCoreTest, ASecondStopDoesNotWaitForTheDrain) {
  run_all();
  stop();
  done();
  stop();
  EXPECT_THAT(done(), ElementsAre("TERM executor-1"));
  stop();
  EXPECT_THAT(done(), IsEmpty());
}

TEST_F(SupervisorCoreTest, StopWhileOneWaitsForItsRestart) {
  run_all();
  exits("broker");
  exits("executor-1");
  done();
  stop();
  EXPECT_THAT(done(), ElementsAre("TERM redis"));
  pass(kS);
  EXPECT_THAT(done(), IsEmpty());
  exits("redis");
  EXPECT_TRUE(core_.all_stopped());
}

TEST_F(SupervisorCoreTest, StopBeforeAnythingStarted) {
  stop();
  EXPECT_TRUE(core_.all_stopped());
  EXPECT_THAT(done(), IsEmpty());
}

TEST_F(SupervisorCoreTest, ExecutorsAreAddedAndTheHighestDrained) {
  run_all();
  core_.set_executors(3, now_, actions_);
  EXPECT_THAT(done(), ElementsAre("start executor-2", "start executor-3"));
  ready("executor-2");
  ready("executor-3");
  core_.set_executors(1, now_, actions_);
  EXPECT_THAT(done(), ElementsAre("TERM executor-2", "TERM executor-3"));
  EXPECT_FALSE(core_.all_ready());
  exits("executor-2");
  exits("executor-3");
  EXPECT_TRUE(core_.all_ready());
  EXPECT_EQ(state("executor-3"), "unknown");
  EXPECT_THAT(done(), IsEmpty());
}

TEST_F(SupervisorCoreTest, ADrainingExecutorThatIsWantedAgainStartsAfterItLeft) {
  make(true, 2);
  run_all();
  core_.set_executors(1, now_, actions_);
  core_.set_executors(2, now_, actions_);
  EXPECT_THAT(done(), ElementsAre("TERM executor-2"));
  exits("executor-2");
  EXPECT_THAT(done(), ElementsAre("start executor-2"));
}

TEST_F(SupervisorCoreTest, AdoptedOnesAreNotStartedAndThoseBeyondTheNumberDrain) {
  for (const char* name : {"redis", "broker", "executor-1", "executor-2"}) core_.adopt(name);
  core_.begin(now_, actions_);
  EXPECT_THAT(done(), ElementsAre("TERM executor-2"));
  exits("executor-2");
  for (const char* name : {"redis", "broker", "executor-1"}) ready(name);
  EXPECT_THAT(done(), IsEmpty());
  EXPECT_TRUE(core_.all_ready());
}

TEST_F(SupervisorCoreTest, AnAdoptedClusterCanBeStoppedRightAway) {
  core_.adopt("redis");
  core_.adopt("executor-1");
  stop();
  EXPECT_THAT(done(), ElementsAre("TERM executor-1"));
  exits("executor-1");
  EXPECT_THAT(done(), ElementsAre("TERM redis"));
}

TEST_F(SupervisorCoreTest, UnknownNamesChangeNothing) {
  run_all();
  ready("executor-9");
  exits("somebody");
  core_.adopt("somebody");
  EXPECT_THAT(done(), IsEmpty());
  EXPECT_TRUE(core_.all_ready());
}

// ---- what the autoscaler asks for
// --------------------------------------------------------------------

class ScaledTest : public SupervisorCoreTest {
 protected:
  ScaledTest() {
    core_ = SupervisorCore(false, 1, true);
    core_.begin(now_, actions_);
    for (const char* name : {"broker", "autoscaler", "executor-1"}) ready(name);
    done();
  }
  void add(uint64_t count) { core_.add_scaled("app", count, now_, actions_); }
  void leave(const std::vector<std::string>& names) { core_.leave_scaled(names, now_, actions_); }
};

TEST_F(ScaledTest, TheyMakeNobodyWaitAndANumberDoesNotComeAgainSoon) {
  add(2);
  EXPECT_THAT(done(), ElementsAre("start scaled-1", "start scaled-2"));
  EXPECT_TRUE(core_.all_ready()) << "they come and go";
  ready("scaled-1");
  leave({"scaled-1"});
  exits("scaled-1");
  done();
  add(2);
  EXPECT_THAT(done(), ElementsAre("start scaled-3", "start scaled-4"));
}

TEST_F(ScaledTest, NumbersGoRoundAndSkipThoseInUse) {
  add(1);
  for (int i = 2; i <= 1000; i++) {
    add(1);
    leave({"scaled-" + std::to_string(i)});
    exits("scaled-" + std::to_string(i));
  }
  done();
  add(1);
  EXPECT_THAT(done(), ElementsAre("start scaled-2"));
}

TEST_F(ScaledTest, OneThatServesIsAskedAndItsEndIsNoDeath) {
  add(1);
  ready("scaled-1");
  done();
  leave({"scaled-1"});
  EXPECT_THAT(done(), ElementsAre("LEAVE scaled-1"));
  EXPECT_EQ(state("scaled-1"), "running") << "it may stay, if it is busy";
  pass(3600 * kS);
  EXPECT_THAT(done(), IsEmpty()) << "nobody presses it";
  exits("scaled-1");
  EXPECT_THAT(done(), IsEmpty());
  EXPECT_EQ(state("scaled-1"), "unknown");
}

TEST_F(ScaledTest, OneThatNeverServedIsStopped) {
  add(1);
  done();
  leave({"scaled-1"});
  EXPECT_THAT(done(), ElementsAre("TERM scaled-1"));
  exits("scaled-1");
  EXPECT_EQ(state("scaled-1"), "unknown");
}

TEST_F(ScaledTest, OneThatDiesUnaskedStartsAgainUntilItIsGivenUp) {
  add(1);
  ready("scaled-1");
  done();
  exits("scaled-1");
  EXPECT_THAT(done(), ElementsAre("scaled-1 died, again in 100 ms"));
  leave({"scaled-1"});
  EXPECT_EQ(state("scaled-1"), "unknown");
  pass(kS);
  EXPECT_THAT(done(), IsEmpty());
}

TEST_F(ScaledTest, OnlyScaledOnesLeave) {
  leave({"executor-1", "broker", "nobody"});
  EXPECT_THAT(done(), IsEmpty());
}

TEST_F(ScaledTest, TheNumberOfUpDoesNotTouchThem) {
  add(3);
  for (auto name : {"scaled-1", "scaled-2", "scaled-3"}) ready(name);
  done();
  core_.set_executors(0, now_, actions_);
  EXPECT_THAT(done(), ElementsAre("TERM executor-1"));
}

TEST_F(ScaledTest, AnAdoptedOneIsScaledStill) {
  core_ = SupervisorCore(false, 0, true);
  for (auto name : {"broker", "autoscaler"}) core_.adopt(name);
  core_.adopt("scaled-4", "app");
  core_.begin(now_, actions_);
  for (auto name : {"broker", "autoscaler", "scaled-4"}) ready(name);
  EXPECT_THAT(done(), IsEmpty());
  leave({"scaled-4"});
  EXPECT_THAT(done(), ElementsAre("LEAVE scaled-4"));
}

TEST_F(ScaledTest, TheAutoscalerStopsFirstWithTheExecutors) {
  add(1);
  ready("scaled-1");
  done();
  stop();
  EXPECT_THAT(done(), ElementsAre("TERM autoscaler", "TERM executor-1", "TERM scaled-1"));
  for (auto name : {"autoscaler", "executor-1", "scaled-1"}) exits(name);
  EXPECT_THAT(done(), ElementsAre("TERM broker"));
}

}  // namespace
}  // namespace flame::flmctl

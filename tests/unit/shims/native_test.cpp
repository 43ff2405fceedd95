// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <gmock/gmock.h>

#include "proto/limits.hpp"
#include "tests/unit/shims/shim_fixture.hpp"

namespace flame::shims::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class NativeShimTest : public ShimTest {
 protected:
  void launch(const std::string& mode = "") {
    proto::Application application;
    application.command = ODD_SERVICE_PATH;
    application.arguments = {mode};
    start(application);
  }
  void launch_and_enter(const std::string& mode = "") {
    launch(mode);
    enter();
  }
  void nothing_else() {
    loop_.turn(0);
    EXPECT_TRUE(events_.empty());
  }
};

TEST_F(NativeShimTest, AnswersAFrameAndEntersAnotherSession) {
  launch();
  enter("first");
  shim_->invoke({frame(5, {"a", "", "common"})});
  auto results = next<Results>();
  EXPECT_EQ(results.first, 5u);
  EXPECT_EQ(results.count, 3u);
  EXPECT_THAT(outputs(results), ElementsAre("a", "", "first"));
  auto pid = run_one("pid", 8);
  shim_->leave();
  next<Left>();
  enter("second");
  EXPECT_EQ(run_one("common", 1), "second");
  EXPECT_EQ(run_one("pid", 2), pid);
  shim_->terminate();
  EXPECT_THAT(next<Exited>().reason, HasSubstr("signal 15"));
  nothing_else();
}

TEST_F(NativeShimTest, AServiceMayGetAllTasksOfAFrameAtOnce) {
  launch_and_enter("batch");
  shim_->invoke({frame(5, {"a", "fail", "b"})});
  auto results = next<Results>();
  EXPECT_THAT(outputs(results), ElementsAre("5 of 3", "", "7 of 3"));
  ASSERT_EQ(results.failures.size(), 1u);
  EXPECT_EQ(results.failures[0].index, 1u);
  EXPECT_EQ(results.failures[0].reason, "asked to fail");
  shim_->invoke({frame(8, {"a", "forget"})});
  results = next<Results>();
  ASSERT_EQ(results.failures.size(), 2u);
  EXPECT_EQ(results.failures[1].reason, "on_batch returned 1 outputs for 2 tasks");
  shim_->invoke({frame(10, {"throw", "a"})});
  results = next<Results>();
  ASSERT_EQ(results.failures.size(), 2u);
  EXPECT_EQ(results.failures[0].reason, "the whole batch");
  EXPECT_EQ(run_one("a", 12), "12 of 1") << "it goes on";
  nothing_else();
}

TEST_F(NativeShimTest, TellsAServiceWhichTasksAreCancelled) {
  launch_and_enter();
  shim_->invoke({frame(7, {"until cancelled"})});
  shim_->cancel({100, 5});  // of others
  loop_.turn(1000);
  EXPECT_TRUE(events_.empty());
  shim_->cancel({5, 3});
  EXPECT_THAT(outputs(next<Results>()), ElementsAre("cancelled"));
  // The numbers mean other tasks in the next session.
  shim_->leave();
  next<Left>();
  enter();
  shim_->invoke({frame(7, {"until cancelled"})});
  loop_.turn(1000);
  EXPECT_TRUE(events_.empty());
  shim_->cancel({7, 1});
  EXPECT_THAT(outputs(next<Results>()), ElementsAre("cancelled"));
}

TEST_F(NativeShimTest, IsNotHeldUpByAServiceThatDoesNotListenToCancels) {
  launch_and_enter();
  for (proto::TaskId id = 1; id <= 100'000; id++) shim_->cancel({id, 1});
  EXPECT_EQ(run_one("a", 200'000), "a");
}

TEST_F(NativeShimTest, FailsTheTasksThatAnswerWithAnErrorAndNoOthers) {
  launch_and_enter();
  shim_->invoke({frame(1, {"a", "fail", "b", "throw"})});
  auto results = next<Results>();
  EXPECT_THAT(results.failures, ElementsAre(Failure{1, proto::Code::kTaskFailed, "asked to fail"},
                                            Failure{3, proto::Code::kTaskFailed, "thrown"}));
  EXPECT_THAT(outputs(results), ElementsAre("a", "", "b", ""));
}

TEST_F(NativeShimTest, TellsWhyASessionWasRefused) {
  launch("refuse");
  shim_->enter({"session-1", "test", {}});
  EXPECT_EQ(next<Entered>(), (Entered{false, "no such model"}));
}

TEST_F(NativeShimTest, PassesTheLargestPayloadBothWays) {
  launch_and_enter();
  std::string large(proto::kPayloadBytesMax, 'i');
  EXPECT_EQ(run_one(large), large);
  EXPECT_EQ(run_one("small", 2), "small");
}

TEST_F(NativeShimTest, NeitherSideWaitsForTheOther) {
  launch_and_enter();
  std::vector<Frame> frames;
  std::string megabyte(1024 * 1024, 'm');
  for (proto::TaskId id = 1; id <= 100; id++) frames.push_back(frame(id, {megabyte}));
  shim_->invoke(frames);
  for (proto::TaskId id = 1; id <= 100;) {
    auto results = next<Results>();
    ASSERT_EQ(results.first, id);
    id += results.count;
  }
  nothing_else();
}

TEST_F(NativeShimTest, AnswersLongTasksOfAFrameAsTheyFinish) {
  launch_and_enter();
  shim_->invoke({frame(1, {"slow", "slow", "slow", "slow"})});
  auto results = next<Results>();
  EXPECT_EQ(results.first, 1u);
  EXPECT_LT(results.count, 4u);
}

TEST_F(NativeShimTest, FailsATaskWhoseOutputIsTooLargeAndGoesOn) {
  launch_and_enter();
  for (uint64_t size : {proto::kPayloadBytesMax + 1, proto::kMessageBytesMax + 1}) {
    shim_->invoke({frame(1, {"size " + std::to_string(size)}), frame(2, {"next"})});
    auto results = next<Results>();
    ASSERT_EQ(results.failures.size(), 1u);
    EXPECT_EQ(results.failures[0].code, proto::Code::kTaskOutputTooLarge);
    EXPECT_THAT(outputs(results), ElementsAre(""));
    EXPECT_THAT(outputs(next<Results>()), ElementsAre("next"));
  }
}

TEST_F(NativeShimTest, ReportsExitCodeAndStderrOfACrash) {
  launch_and_enter();
  shim_->invoke({frame(1, {"exit"})});
  auto reason = next<Exited>().reason;
  EXPECT_THAT(reason, HasSubstr("exit code 3"));
  EXPECT_THAT(reason, HasSubstr("out of luck"));
}

// What the executor charges for a crash rests on it.
TEST_F(NativeShimTest, AnswersAllThatIsEarlierBeforeItBeginsTheNextFrame) {
  launch();
  shim_->enter({"session-1", "test", {}});
  EXPECT_EQ(next<Entered>(), (Entered{true, "", true}));
  Frame second = frame(2, {"exit"});
  second.next = true;
  shim_->invoke({frame(1, {"a"}), second});
  EXPECT_THAT(outputs(next<Results>()), ElementsAre("a"));
  EXPECT_THAT(next<Exited>().reason, HasSubstr("exit code 3"));
}

TEST_F(NativeShimTest, ReportsTheSignalOfACrash) {
  launch_and_enter();
  shim_->invoke({frame(1, {"a"}), frame(2, {"segv"})});
  events_.clear();
  wait([&] { return !events_.empty() && std::holds_alternative<Exited>(events_.back().event); });
  EXPECT_THAT(std::get<Exited>(events_.back().event).reason, HasSubstr("signal 11 (SEGV)"));
}

TEST_F(NativeShimTest, ReportsAServiceThatDiesAtStart) {
  launch("dies at start");
  shim_->enter({"session-1", "test", {}});
  auto reason = next<Exited>().reason;
  EXPECT_THAT(reason, HasSubstr("exit code 9"));
  EXPECT_THAT(reason, HasSubstr("no license"));
}

TEST_F(NativeShimTest, DrainsAFloodAndKeepsItsEnd) {
  launch_and_enter();
  EXPECT_EQ(run_one("flood"), "flooded");
  shim_->invoke({frame(2, {"exit"})});
  auto reason = next<Exited>().reason;
  EXPECT_THAT(reason, HasSubstr("out of luck"));
  EXPECT_LT(reason.size(), proto::kStderrTailBytes + 200);
}

TEST_F(NativeShimTest, EndsWhoBreaksTheProtocol) {
  for (std::string mode : {"garbage", "size zero", "unasked results", "huge"}) {
    launch(mode);
    shim_->enter({"session-1", "test", {}});
    EXPECT_THAT(next<Exited>().reason, HasSubstr("broke the protocol")) << mode;
    nothing_else();
  }
}

TEST_F(NativeShimTest, KillsAServiceThatNeverAnswersOrIgnoresSigterm) {
  launch("silent");
  shim_->enter({"session-1", "test", {}});
  nothing_else();
  shim_->kill();
  EXPECT_THAT(next<Exited>().reason, HasSubstr("signal 9"));

  launch_and_enter("deaf");
  shim_->terminate();
  EXPECT_EQ(run_one("still here"), "still here");
  shim_->kill();
  EXPECT_THAT(next<Exited>().reason, HasSubstr("signal 9"));
}

TEST_F(NativeShimTest, EndsAServiceThatClosesItsConnection) {
  launch_and_enter();
  shim_->invoke({frame(1, {"close"})});
  EXPECT_THAT(next<Exited>().reason, HasSubstr("closed its connection"));
}

TEST_F(NativeShimTest, KillsTheWholeProcessGroup) {
  launch_and_enter();
  pid_t grandchild = std::stoi(run_one("grandchild"));
  EXPECT_FALSE(dead(grandchild));
  shim_->kill();
  next<Exited>();
  EXPECT_TRUE(wait([&] { return dead(grandchild); }));
}

TEST_F(NativeShimTest, KillsTheWholeProcessGroupWhenItGoes) {
  launch_and_enter();
  pid_t grandchild = std::stoi(run_one("grandchild"));
  shim_.reset();
  EXPECT_TRUE(wait([&] { return dead(grandchild); }));
}

TEST_F(NativeShimTest, IsNotHeldUpByAServiceThatForksAway) {
  for (std::string how : {"fork away", "fork far away"}) {
    launch_and_enter();
    shim_->invoke({frame(1, {how})});
    std::string reason = next<Exited>(5'000).reason;
    EXPECT_THAT(reason, HasSubstr("exit code 3")) << how;
    auto at = reason.find("grandchild ");
    ASSERT_NE(at, reason.npos) << reason;
    pid_t grandchild = std::stoi(reason.substr(at + 11));
    // In a session of its own it is out of our reach, and of nobody's business but this test's.
    if (how == "fork far away") {
      EXPECT_EQ(kill(grandchild, SIGKILL), 0);
    }
    EXPECT_TRUE(wait([&] { return dead(grandchild); })) << how;
  }
}

TEST_F(NativeShimTest, GivesAServiceNoSecretsAndItsOwnEnvironment) {
  setenv("FLAME_REDIS_URL", "redis://:secret@localhost", 1);
  setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
  proto::Application application;
  application.command = ODD_SERVICE_PATH;
  application.environment = {{"MODEL", "large"}, {"LANG", "C.UTF-8"}};
  start(application);
  enter();
  auto environment = run_one("environment");
  EXPECT_THAT(environment, Not(HasSubstr("secret")));
  EXPECT_THAT(environment, Not(HasSubstr("FLAME_REDIS_URL")));
  EXPECT_THAT(environment, HasSubstr("MODEL=large\n"));
  EXPECT_THAT(environment, HasSubstr("LANG=C.UTF-8\n"));
  EXPECT_THAT(environment, HasSubstr("PATH="));
  EXPECT_THAT(environment, HasSubstr("FLAME_SHIM=native\n"));
}

TEST_F(NativeShimTest, NamesWhatItCouldNotStart) {
  proto::Application application;
  application.name = "test";
  application.command = "no-such-command";
  auto launch = make_launch(application, {"/nowhere", folder_});
  ASSERT_FALSE(launch);
  EXPECT_THAT(launch.error().message, HasSubstr("no-such-command"));
  EXPECT_THAT(launch.error().message, HasSubstr("/nowhere"));

  std::ofstream(folder_ + "/script") << "#!/no/such/interpreter\n";
  std::filesystem::permissions(folder_ + "/script", std::filesystem::perms::owner_all);
  application.command = folder_ + "/script";
  launch = make_launch(application, {"/nowhere", folder_});
  ASSERT_TRUE(launch) << launch.error().message;
  auto shim = make_shim(application, *launch, 1, loop_, events_);
  ASSERT_FALSE(shim);
  EXPECT_THAT(shim.error().message, HasSubstr("interpreter"));
}

TEST_F(NativeShimTest, RunsTheWorkerInPythonsStandardLibrary) {
  proto::Application application;
  application.command = ECHO_WORKER_PATH;
  start(application);
  enter("common");
  std::string medium(300, 'm'), large(70'000, 'l');
  shim_->invoke({frame(1, {"a", medium, large, "fail"})});
  auto results = next<Results>();
  EXPECT_THAT(outputs(results), ElementsAre("a", medium, large, ""));
  ASSERT_EQ(results.failures.size(), 1u);
  EXPECT_EQ(results.failures[0].reason, "task 4 was asked to fail");
  shim_->leave();
  next<Left>();
}

}  // namespace
}  // namespace flame::shims::test

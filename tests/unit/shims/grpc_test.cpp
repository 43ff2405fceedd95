// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <gmock/gmock.h>

#include "proto/limits.hpp"
#include "tests/unit/shims/shim_fixture.hpp"

namespace flame::shims::test {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class GrpcShimTest : public ShimTest {
 protected:
  void launch(const std::string& mode = "", uint64_t concurrency = 1) {
    proto::Application application;
    application.shim = "grpc";
    application.command = ODD_GRPC_SERVICE_PATH;
    application.arguments = {mode};
    application.environment = {{"PYTHONPATH", INSTANCE_PB2_FOLDER}};
    application.concurrency = concurrency;
    start(application);
  }
  void launch_and_enter(const std::string& mode = "", uint64_t concurrency = 1) {
    launch(mode, concurrency);
    enter();
  }
  std::vector<std::string> all_outputs(proto::TaskId first, uint32_t count) {
    std::vector<std::string> out;
    EXPECT_TRUE(all_results(first, count, out).failures.empty());
    return out;
  }
  void nothing_else() {
    loop_.turn(0);
    EXPECT_TRUE(events_.empty());
  }
};

TEST_F(GrpcShimTest, AnswersAFrameAndEntersAnotherSession) {
  launch();
  enter("first");
  shim_->invoke({frame(5, {"a", "", "common"})});
  EXPECT_THAT(all_outputs(5, 3), ElementsAre("a", "", "first"));
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

TEST_F(GrpcShimTest, SaysWhatTheContractSays) {
  proto::Application application;
  application.shim = "grpc";
  application.command = ODD_GRPC_SERVICE_PATH;
  application.environment = {{"PYTHONPATH", INSTANCE_PB2_FOLDER}, {"MODEL", "large"}};
  application.image = "registry/odd:1";
  application.working_directory = folder_;
  application.extra = proto::Map{{"url", "file:///odd.tar.gz"}, {"installer", "binary"}};
  start(application);
  enter();
  auto context = run_one("context", 12);
  for (std::string field :
       {"session_id: \"session-1\"\n", "name: \"test\"\n", "image: \"registry/odd:1\"\n",
        "url: \"file:///odd.tar.gz\"\n", "installer: \"binary\"\n", "task_id: \"12\"\n"}) {
    EXPECT_THAT(context, HasSubstr(field));
  }
  EXPECT_THAT(context, HasSubstr("working_directory: \"" + folder_ + "\"\n"));
  EXPECT_THAT(context, HasSubstr("command: \"" + application.command + "\"\n"));
  EXPECT_THAT(context, Not(HasSubstr("common_data")));  // none, not an empty one
  EXPECT_THAT(context, Not(HasSubstr("shim:")));        // Host is 0
  auto environment = run_one("environment", 13);
  EXPECT_THAT(environment, HasSubstr("MODEL=large\n"));
  EXPECT_THAT(environment, HasSubstr("FLAME_SHIM=grpc\n"));
  EXPECT_THAT(environment, HasSubstr("FLAME_INSTANCE_ENDPOINT=" + folder_ + "/grpc-"));
}

TEST_F(GrpcShimTest, FailsTheTasksThatAnswerWithAnErrorAndNoOthers) {
  launch_and_enter();
  shim_->invoke({frame(1, {"a", "fail", "code", "raise", "abort", "nothing", "b"})});
  std::vector<std::string> out;
  auto all = all_results(1, 7, out);
  EXPECT_THAT(out, ElementsAre("a", "", "", "", "", "", "b"));
  ASSERT_EQ(all.failures.size(), 4u);
  for (const auto& failure : all.failures) EXPECT_EQ(failure.code, proto::Code::kTaskFailed);
  EXPECT_EQ(all.failures[0].reason, "asked to fail");
  EXPECT_EQ(all.failures[1].reason, "return code 7 without a message");
  EXPECT_THAT(all.failures[2].reason, HasSubstr("gRPC status UNKNOWN"));
  EXPECT_THAT(all.failures[2].reason, HasSubstr("thrown"));
  // A status that a lost connection has too; this one stands.
  EXPECT_EQ(all.failures[3].reason, "gRPC status UNAVAILABLE: the model is being loaded");
}

TEST_F(GrpcShimTest, OfALongReasonComesTheBegin) {
  launch_and_enter();
  shim_->invoke({frame(1, {"long"})});
  auto results = next<Results>();
  ASSERT_EQ(results.failures.size(), 1u);
  EXPECT_THAT(results.failures[0].reason, HasSubstr("gRPC status UNKNOWN"));
  EXPECT_THAT(results.failures[0].reason, HasSubstr("a story, long long"));
}

TEST_F(GrpcShimTest, TellsWhyASessionWasRefused) {
  launch("refuse");
  shim_->enter({"session-1", "test", {}});
  EXPECT_EQ(next<Entered>(), (Entered{false, "no such model"}));
  launch("raise");
  shim_->enter({"session-1", "test", {}});
  auto entered = next<Entered>();
  EXPECT_FALSE(entered.ok);
  EXPECT_THAT(entered.message, HasSubstr("gRPC status UNKNOWN"));
}

TEST_F(GrpcShimTest, FailsTheTasksOfAServiceWithoutTheCall) {
  launch_and_enter("half");
  shim_->invoke({frame(1, {"a"})});
  auto results = next<Results>();
  ASSERT_EQ(results.failures.size(), 1u);
  EXPECT_THAT(results.failures[0].reason, HasSubstr("gRPC status UNIMPLEMENTED"));
}

TEST_F(GrpcShimTest, PassesTheLargestPayloadAndRefusesALargerOne) {
  launch_and_enter("large");
  std::string large(proto::kPayloadBytesMax, 'i');
  EXPECT_EQ(run_one(large), large);
  // The second is above what is received at all.
  for (uint64_t size : {proto::kPayloadBytesMax + 1, proto::kPayloadBytesMax + proto::MiB}) {
    shim_->invoke({frame(2, {"size " + std::to_string(size)})});
    auto results = next<Results>();
    ASSERT_EQ(results.failures.size(), 1u);
    EXPECT_EQ(results.failures[0].code, proto::Code::kTaskOutputTooLarge);
    EXPECT_THAT(outputs(results), ElementsAre(""));
  }
  EXPECT_EQ(run_one("next", 4), "next");
}

TEST_F(GrpcShimTest, AnInputThatTheServersOwnLimitRefusesFailsItsTask) {
  launch_and_enter();
  shim_->invoke({frame(1, {std::string(5 * proto::MiB, 'i')}), frame(2, {"next"})});
  auto results = next<Results>();
  ASSERT_EQ(results.failures.size(), 1u);
  EXPECT_EQ(results.failures[0].code, proto::Code::kTaskFailed);
  EXPECT_THAT(results.failures[0].reason, HasSubstr("gRPC status RESOURCE_EXHAUSTED"));
  EXPECT_THAT(outputs(next<Results>()), ElementsAre("next"));
}

// What the executor charges for a crash rests on it, and that what was answered counts.
TEST_F(GrpcShimTest, ReportsExitCodeAndStderrOfACrash) {
  launch();
  shim_->enter({"session-1", "test", {}});
  EXPECT_EQ(next<Entered>(), (Entered{true, "", true}));
  Frame second = frame(3, {"exit", "c"});
  second.next = true;
  shim_->invoke({frame(1, {"a", "b"}), second});
  EXPECT_THAT(all_outputs(1, 2), ElementsAre("a", "b"));
  auto reason = next<Exited>().reason;
  EXPECT_THAT(reason, HasSubstr("exit code 3"));
  EXPECT_THAT(reason, HasSubstr("out of luck"));
  nothing_else();
}

TEST_F(GrpcShimTest, ReportsAServiceThatDiesAtStart) {
  launch("dies at start");
  shim_->enter({"session-1", "test", {}});
  auto reason = next<Exited>().reason;
  EXPECT_THAT(reason, HasSubstr("exit code 1"));
  EXPECT_THAT(reason, HasSubstr("no license"));
}

TEST_F(GrpcShimTest, NamesTheSocketThatAServiceNeverOpens) {
  launch("never listens");
  shim_->enter({"session-1", "test", {}});
  for (int turns = 0; turns < 20; turns++) loop_.turn(1000);
  nothing_else();
  shim_->kill();
  EXPECT_THAT(next<Exited>().reason,
              HasSubstr("the service does not listen on its socket FLAME_INSTANCE_ENDPOINT=/"));
}

TEST_F(GrpcShimTest, KillsAServiceThatNeverAnswersOrIgnoresSigterm) {
  launch("silent");
  shim_->enter({"session-1", "test", {}});
  EXPECT_TRUE(wait([&] { return std::filesystem::exists(folder_ + "/test/accepted"); }));
  nothing_else();
  shim_->kill();
  EXPECT_THAT(next<Exited>().reason, HasSubstr("signal 9"));

  launch_and_enter("deaf");
  shim_->terminate();
  EXPECT_EQ(run_one("still here"), "still here");
  shim_->invoke({frame(2, {"hang"})});
  shim_->kill();
  EXPECT_THAT(next<Exited>().reason, HasSubstr("signal 9"));
}

TEST_F(GrpcShimTest, EndsWhoBreaksTheProtocol) {
  // What gRPC makes of them depends on what it has written when they come.
  for (std::string mode : {"another protocol", "noise"}) {
    launch(mode);
    shim_->enter({"session-1", "test", {}});
    EXPECT_THAT(next<Exited>().reason,
                AnyOf(HasSubstr("broke the protocol: gRPC status INTERNAL"),
                      HasSubstr("closed its connection and went on running; gRPC status")))
        << mode;
  }
  launch_and_enter();
  shim_->invoke({frame(1, {"unreadable"})});
  EXPECT_THAT(next<Exited>().reason,
              HasSubstr("broke the protocol: it answered with bytes that are no flame.v1.Task"));
  nothing_else();
}

TEST_F(GrpcShimTest, EndsAServiceThatClosesItsConnection) {
  launch_and_enter();
  shim_->invoke({frame(1, {"close"})});
  EXPECT_THAT(next<Exited>().reason, HasSubstr("closed its connection"));
}

TEST_F(GrpcShimTest, AServiceThatCannotLeaveEnds) {
  launch_and_enter("cannot leave");
  shim_->leave();
  EXPECT_THAT(next<Exited>().reason, HasSubstr("signal 15"));
}

// Its connection stays open in a process that is out of our reach.
TEST_F(GrpcShimTest, IsNotHeldUpByAServiceThatForksAway) {
  launch_and_enter();
  shim_->invoke({frame(1, {"away"})});
  std::string reason = next<Exited>(5'000).reason;
  EXPECT_THAT(reason, HasSubstr("exit code 3"));
  auto at = reason.find("grandchild ");
  ASSERT_NE(at, reason.npos) << reason;
  EXPECT_EQ(kill(std::stoi(reason.substr(at + 11)), SIGKILL), 0);
}

TEST_F(GrpcShimTest, GoesAtOnceWithACallOnItsWay) {
  launch_and_enter();
  pid_t pid = std::stoi(run_one("pid"));
  shim_->invoke({frame(2, {"hang"})});
  shim_.reset();
  EXPECT_TRUE(wait([&] { return dead(pid); }));
  EXPECT_TRUE(events_.empty());
  EXPECT_TRUE(std::filesystem::is_empty(folder_ + "/test"));
}

TEST_F(GrpcShimTest, HasAsManyTasksAtATimeAsTheApplicationSays) {
  launch_and_enter("", 4);
  std::vector<Frame> frames;
  for (proto::TaskId id = 1; id <= 4; id++) frames.push_back(frame(id, {"meet 4"}));
  shim_->invoke(frames);
  for (int i = 0; i < 4; i++) EXPECT_EQ(next<Results>().failures.size(), 0u);
  // Whoever is done first is told first.
  shim_->invoke({frame(5, {"meet 6"}), frame(6, {"a"})});
  EXPECT_EQ(next<Results>().first, 6u);
  shim_->invoke({frame(7, {"meet 6"})});
  next<Results>();
  next<Results>();
  nothing_else();
}

TEST_F(GrpcShimTest, DoesNotCallForTasksThatAreCancelled) {
  launch_and_enter();
  shim_->invoke({frame(1, {"a", "exit", "exit", "b"}), frame(5, {"exit"})});
  shim_->cancel({2, 2});
  shim_->cancel({5, 1});
  EXPECT_THAT(all_outputs(1, 4), ElementsAre("a", "", "", "b"));
  EXPECT_THAT(all_outputs(5, 1), ElementsAre(""));
}

TEST(GrpcShim, SaysThatAnExecutorHasNoGrpc) {
  runtime::EventLoop loop;
  Events events;
  proto::Application application;
  application.name = "app";
  application.shim = "grpc";
  auto shim = make_shim(application, {}, 1, loop, events);
  ASSERT_FALSE(shim);
  EXPECT_EQ(shim.error().message,
            "this executor was built without gRPC (FLAME_GRPC=OFF): run application `app` on "
            "executors that have it");
}

}  // namespace
}  // namespace flame::shims::test

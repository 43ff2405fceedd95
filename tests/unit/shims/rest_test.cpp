// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <fcntl.h>
#include <gmock/gmock.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "proto/limits.hpp"
#include "tests/unit/shims/shim_fixture.hpp"

namespace flame::shims::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

proto::Application odd(const std::string& mode = "") {
  proto::Application application;
  application.shim = "rest";
  application.command = ODD_REST_SERVICE_PATH;
  application.arguments = {mode};
  return application;
}

/// The service as somebody else runs it.
class Elsewhere {
 public:
  Elsewhere() {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    std::string path = ODD_REST_SERVICE_PATH, mode = "tcp";
    char* argv[] = {path.data(), mode.data(), nullptr};
    EXPECT_EQ(posix_spawn(&pid, path.c_str(), &actions, nullptr, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    std::FILE* said = fdopen(ends[0], "r");
    EXPECT_EQ(std::fscanf(said, "%d", &port), 1);
    std::fclose(said);
  }
  ~Elsewhere() {
    ::kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port); }
  int port = 0;
  pid_t pid = 0;
};

class RestShimTest : public ShimTest {
 protected:
  void launch_and_enter(const proto::Application& application) {
    start(application);
    enter();
  }
  std::string failure_of(const std::string& input) {
    shim_->invoke({frame(1, {input})});
    auto results = next<Results>();
    if (results.failures.size() != 1) return "(no failure)";
    EXPECT_EQ(results.failures[0].code, proto::Code::kTaskFailed);
    return results.failures[0].reason;
  }
};

TEST_F(RestShimTest, AnswersAFrameOverOneConnectionAndEntersAnotherSession) {
  start(odd());
  enter("first");
  shim_->invoke({frame(5, {"a", "", "common"})});
  std::vector<std::string> out;
  EXPECT_TRUE(all_results(5, 3, out).failures.empty());
  EXPECT_THAT(out, ElementsAre("a", "", "first"));
  EXPECT_EQ(run_one("connections", 8), "1");
  auto pid = run_one("pid", 9);
  shim_->leave();
  next<Left>();
  enter("second");
  EXPECT_EQ(run_one("common", 1), "second");
  EXPECT_EQ(run_one("pid", 2), pid);
  shim_->terminate();
  EXPECT_THAT(next<Exited>().reason, HasSubstr("signal 15"));
}

TEST_F(RestShimTest, SaysWhichTaskOfWhichSessionAndWhereToListen) {
  auto application = odd();
  application.rest.content_type = "application/json";
  launch_and_enter(application);
  shim_->invoke({frame(12, {"headers"}, 3)});
  auto headers = outputs(next<Results>()).at(0);
  for (std::string line :
       {"Flame-Session: session-1\n", "Flame-Application: test\n", "Flame-Task: 12\n",
        "Flame-Attempt: 3\n", "Content-Type: application/json\n"}) {
    EXPECT_THAT(headers, HasSubstr(line));
  }
  auto environment = run_one("environment", 13);
  EXPECT_THAT(environment, HasSubstr("FLAME_SHIM=rest\n"));
  EXPECT_THAT(environment, HasSubstr("FLAME_INSTANCE_ENDPOINT=" + folder_));
}

TEST_F(RestShimTest, ListensOnAPortThatIsChosenForIt) {
  auto application = odd();
  application.rest.url = "http://127.0.0.1:{port}/v1/";
  launch_and_enter(application);
  EXPECT_THAT(run_one("environment"), HasSubstr("\nPORT="));
}

TEST_F(RestShimTest, FailsTheTasksThatAnswerWithAnErrorAndNoOthers) {
  launch_and_enter(odd());
  EXPECT_EQ(failure_of("status 500 asked to fail"), "HTTP 500: asked to fail");
  EXPECT_EQ(failure_of("status 422"), "HTTP 422");
  EXPECT_THAT(failure_of("elsewhere"),
              StartsWith("HTTP 307 to http://127.0.0.1:1/invoke (redirects are not followed)"));
  EXPECT_EQ(run_one("alive"), "alive");
}

TEST_F(RestShimTest, IsEnteredAndLeftOnlyIfItWantsTo) {
  launch_and_enter(odd("plain"));
  EXPECT_EQ(run_one("a"), "a");
  shim_->leave();
  next<Left>();
  enter();
  EXPECT_EQ(run_one("b"), "b");
}

TEST_F(RestShimTest, TellsWhyASessionWasRefusedAndEndsIfItCannotLeave) {
  start(odd("refuse"));
  shim_->enter({"session-1", "test", {}});
  EXPECT_EQ(next<Entered>(), (Entered{false, "HTTP 500: no such model"}));
  launch_and_enter(odd("cannot leave"));
  shim_->leave();
  EXPECT_THAT(next<Exited>().reason, HasSubstr("signal 15"));
}

TEST_F(RestShimTest, AnAnswerToEnterAboveTheLimitEndsIt) {
  start(odd("verbose"));
  shim_->enter({"session-1", "test", {}});
  EXPECT_THAT(next<Exited>().reason, HasSubstr("broke the protocol: POST http://localhost/enter"));
}

TEST_F(RestShimTest, WaitsUntilItIsHealthy) {
  launch_and_enter(odd("warming"));
  EXPECT_EQ(run_one("a"), "a");
}

TEST_F(RestShimTest, OneThatIsNeverReadySaysWhatItAnswered) {
  start(odd("never ready"));
  shim_->enter({"session-1", "test", {}});
  wait([&] { return !events_.empty(); }, 300);
  EXPECT_TRUE(events_.empty());
  shim_->kill();  // the executor's start time-out
  auto reason = next<Exited>().reason;
  EXPECT_THAT(reason, HasSubstr("GET http://localhost/health"));
  EXPECT_THAT(reason, HasSubstr("HTTP 503: loading the model"));
}

TEST_F(RestShimTest, OneThatDoesNotListenSaysWhere) {
  start(odd("deaf"));
  shim_->enter({"session-1", "test", {}});
  wait([&] { return !events_.empty(); }, 300);
  shim_->kill();
  EXPECT_THAT(next<Exited>().reason, HasSubstr("FLAME_INSTANCE_ENDPOINT=" + folder_));
}

TEST_F(RestShimTest, OneWithoutTheHealthPathIsToldToHaveIt) {
  start(odd("no health"));
  EXPECT_THAT(next<Exited>().reason,
              HasSubstr("answered GET /health with HTTP 404: nothing here; it must answer 2xx"));
}

TEST_F(RestShimTest, TriesAgainWhenItIsBusy) {
  launch_and_enter(odd());
  // The health check was the first.
  EXPECT_EQ(run_one("away 3"), "4");
}

TEST_F(RestShimTest, ATaskThatWaitsToBeTriedAgainCanBeCancelled) {
  launch_and_enter(odd());
  shim_->invoke({frame(1, {"later"}), frame(2, {"b"})});
  wait([&] { return !events_.empty(); }, 300);
  EXPECT_TRUE(events_.empty());
  shim_->cancel({1, 1});
  EXPECT_THAT(outputs(next<Results>()), ElementsAre(""));
  EXPECT_THAT(outputs(next<Results>()), ElementsAre("b"));
}

TEST_F(RestShimTest, CallsAsManyAtATimeAsItMay) {
  auto application = odd();
  application.concurrency = 3;
  launch_and_enter(application);
  shim_->invoke({frame(1, {"meet 3"}), frame(2, {"meet 3"}), frame(3, {"meet 3"})});
  for (int i = 0; i < 3; i++) EXPECT_THAT(outputs(next<Results>()), ElementsAre("met"));
}

TEST_F(RestShimTest, AnOutputAboveTheLimitFailsTheTaskOnly) {
  launch_and_enter(odd());
  shim_->invoke({frame(1, {"large " + std::to_string(proto::kPayloadBytesMax + 1)})});
  auto results = next<Results>();
  ASSERT_EQ(results.failures.size(), 1u);
  EXPECT_EQ(results.failures[0].code, proto::Code::kTaskOutputTooLarge);
  EXPECT_EQ(run_one("alive"), "alive");
}

TEST_F(RestShimTest, OneThatDiesSaysHowAndItsLastWords) {
  launch_and_enter(odd());
  shim_->invoke({frame(1, {"die"}), frame(2, {"b"})});
  auto reason = next<Exited>().reason;
  EXPECT_THAT(reason, HasSubstr("signal 9"));
  EXPECT_THAT(reason, HasSubstr("the disk is on fire"));
}

TEST_F(RestShimTest, OneThatDoesNotSpeakHttpIsEnded) {
  launch_and_enter(odd());
  shim_->invoke({frame(1, {"garbage"})});
  EXPECT_THAT(next<Exited>().reason, HasSubstr("broke the protocol"));
  launch_and_enter(odd());
  shim_->invoke({frame(1, {"cut"})});
  EXPECT_THAT(next<Exited>().reason, HasSubstr("broke the protocol"));
}

TEST_F(RestShimTest, OneThatHangsCanBeKilled) {
  launch_and_enter(odd());
  auto pid = std::stoi(run_one("pid"));
  shim_->invoke({frame(2, {"hang"})});
  wait([&] { return !events_.empty(); }, 100);
  shim_->kill();
  EXPECT_THAT(next<Exited>().reason, HasSubstr("signal 9"));
  EXPECT_TRUE(dead(pid));
}

TEST_F(RestShimTest, WhatItWritesStandsInTheLog) {
  launch_and_enter(odd());
  run_one("print half way");
  EXPECT_THAT(shim_->log().text(0, 1), HasSubstr("half way"));
}

// ---- running elsewhere

TEST_F(RestShimTest, AServiceThatRunsElsewhereIsNotEnded) {
  Elsewhere service;
  proto::Application application;
  application.shim = "rest";
  application.rest.url = service.url();
  launch_and_enter(application);
  EXPECT_EQ(run_one("pid"), std::to_string(service.pid));
  shim_->terminate();
  EXPECT_THAT(next<Exited>().reason, HasSubstr(service.url() + " was left"));
  launch_and_enter(application);
  shim_->invoke({frame(1, {"hang"})});
  wait([&] { return !events_.empty(); }, 100);
  shim_->kill();
  EXPECT_THAT(next<Exited>().reason, HasSubstr("in the middle of a call"));
  EXPECT_FALSE(dead(service.pid));
}

TEST_F(RestShimTest, AServiceElsewhereThatDiesEndsTheInstance) {
  Elsewhere service;
  proto::Application application;
  application.shim = "rest";
  application.rest.url = service.url();
  launch_and_enter(application);
  shim_->invoke({frame(1, {"die"})});
  EXPECT_THAT(next<Exited>().reason, StartsWith("the service at " + service.url()));
  start(application);
  shim_->enter({"session-1", "test", {}});
  wait([&] { return !events_.empty(); }, 200);
  EXPECT_TRUE(events_.empty());  // it may come back
  shim_->kill();
  EXPECT_THAT(next<Exited>().reason, HasSubstr("does not answer GET " + service.url()));
}

TEST_F(RestShimTest, AnAnswerOfAGatewayMeansThatTheServiceIsAway) {
  Elsewhere service;
  proto::Application application;
  application.shim = "rest";
  application.rest.url = service.url();
  launch_and_enter(application);
  shim_->invoke({frame(1, {"status 502 upstream"})});
  EXPECT_THAT(next<Exited>().reason, HasSubstr("answered HTTP 502: upstream"));
}

// ---- batches

proto::Application batching() {
  auto application = odd();
  application.rest.batch = true;
  application.rest.content_type = "application/json";
  return application;
}

TEST_F(RestShimTest, ABatchIsAFrameInOneCall) {
  launch_and_enter(batching());
  shim_->invoke({frame(4, {"1.50", "\"fail\"", "", "{\"a\": [true]}"}, 2)});
  std::vector<std::string> out;
  auto all = all_results(4, 4, out);
  EXPECT_THAT(out, ElementsAre("[\"session-1\",2,1.5]", "", "[\"session-1\",2,null]",
                               "[\"session-1\",2,{\"a\":[true]}]"));
  ASSERT_EQ(all.failures.size(), 1u);
  EXPECT_EQ(all.failures[0].index, 1u);
  EXPECT_EQ(all.failures[0].reason, "task 5 asked to fail");
}

TEST_F(RestShimTest, ABatchOfWhatIsNotJsonFailsAndSaysWhich) {
  launch_and_enter(batching());
  shim_->invoke({frame(4, {"1", "not json"})});
  std::vector<std::string> out;
  auto all = all_results(4, 2, out);
  ASSERT_EQ(all.failures.size(), 2u);
  EXPECT_THAT(all.failures[0].reason, HasSubstr("the input of task 5 is not JSON"));
  EXPECT_EQ(run_one("2", 6), "[\"session-1\",1,2]");
}

TEST_F(RestShimTest, AnAnswerToABatchThatIsNoneEndsTheService) {
  launch_and_enter(batching());
  shim_->invoke({frame(1, {"1", "\"short\""})});
  EXPECT_THAT(next<Exited>().reason, HasSubstr("has 1 results for 2 tasks"));
  launch_and_enter(batching());
  shim_->invoke({frame(1, {"\"garbage\""})});
  EXPECT_THAT(next<Exited>().reason, HasSubstr("is not JSON"));
}

}  // namespace
}  // namespace flame::shims::test

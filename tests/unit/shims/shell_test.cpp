// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <gmock/gmock.h>

#include "proto/limits.hpp"
#include "tests/unit/shims/shim_fixture.hpp"

namespace flame::shims::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ShellShimTest : public ShimTest {
 protected:
  void run(const std::string& command, std::vector<std::string> arguments) {
    proto::Application application;
    application.shim = "shell";
    application.command = command;
    application.arguments = std::move(arguments);
    start(application);
    shim_->enter({"session-1", "test", {}});
    EXPECT_TRUE(next<Entered>().ok);
  }
  void script(const std::string& text) { run("sh", {"-c", text}); }

  Failure failure_of(const std::string& input) {
    shim_->invoke({frame(1, {input})});
    auto results = next<Results>();
    EXPECT_THAT(outputs(results), ElementsAre(""));
    if (results.failures.size() != 1) {
      ADD_FAILURE() << "did not fail";
      return {};
    }
    return results.failures[0];
  }
};

TEST_F(ShellShimTest, GivesInputOnStdinAndTakesStdout) {
  run("cat", {});
  shim_->invoke({frame(1, {"one", "two"}), frame(3, {"three"})});
  EXPECT_THAT(outputs(next<Results>()), ElementsAre("one"));
  EXPECT_THAT(outputs(next<Results>()), ElementsAre("two"));
  EXPECT_THAT(outputs(next<Results>()), ElementsAre("three"));
  shim_->leave();
  next<Left>();
  EXPECT_THAT(events_, IsEmpty());
}

TEST_F(ShellShimTest, PassesALargePayload) {
  run("cat", {});
  std::string large(16 * 1024 * 1024, 'x');
  EXPECT_EQ(run_one(large), large);
}

TEST_F(ShellShimTest, TellsTaskAndSession) {
  script("echo $FLAME_TASK_ID $FLAME_SESSION_ID");
  EXPECT_EQ(run_one("", 42), "42 session-1\n");
}

TEST_F(ShellShimTest, PutsNoShellInBetween) {
  run("printf", {"%s", "$HOME; `id` *"});
  EXPECT_EQ(run_one(""), "$HOME; `id` *");
}

TEST_F(ShellShimTest, FailsATaskByItsExitCodeWithStderr) {
  script("echo lost; echo broken >&2; exit 3");
  auto failure = failure_of("");
  EXPECT_EQ(failure.code, proto::Code::kTaskFailed);
  EXPECT_EQ(failure.reason, "exit code 3; it wrote:\nbroken");
}

TEST_F(ShellShimTest, FailsATaskByItsSignal) {
  script("kill -SEGV $$");
  EXPECT_THAT(failure_of("").reason, HasSubstr("killed by signal 11 (SEGV)"));
}

TEST_F(ShellShimTest, FailsATaskThatWritesTooMuch) {
  script("head -c 100000000 /dev/zero");
  EXPECT_EQ(failure_of("").code, proto::Code::kTaskOutputTooLarge);
}

TEST_F(ShellShimTest, DoesNotWaitForWhatATaskLeavesBehind) {
  script("sleep 1000 & echo $!");
  pid_t left = std::stoi(run_one(""));
  EXPECT_TRUE(wait([&] { return dead(left); }));
}

TEST_F(ShellShimTest, AcceptsATaskThatDoesNotReadItsInput) {
  run("true", {});
  EXPECT_EQ(run_one(std::string(8 * 1024 * 1024, 'x')), "");
}

TEST_F(ShellShimTest, EndsWithTheTaskInHandWhenKilled) {
  script("echo waiting >&2; sleep 1000");
  shim_->invoke({frame(1, {""})});
  shim_->kill();
  EXPECT_THAT(next<Exited>().reason, HasSubstr("ended by the executor"));
  EXPECT_THAT(events_, IsEmpty());
}

TEST_F(ShellShimTest, TerminatesACancelledTaskAndGoesOn) {
  std::string started = folder_ + "/started";
  script("trap 'echo cleaned up; exit 0' TERM; echo >" + started +
         "; while :; do sleep 0.01; done");
  shim_->invoke({frame(3, {""}), frame(9, {""})});
  EXPECT_TRUE(wait([&] { return std::filesystem::exists(started); }));
  shim_->cancel({4, 2});  // of others
  shim_->cancel({9, 1});  // not started yet: told when it is
  loop_.turn(1000);
  EXPECT_TRUE(events_.empty());
  shim_->cancel({3, 1});
  EXPECT_THAT(outputs(next<Results>()), ElementsAre("cleaned up\n"));
}

TEST_F(ShellShimTest, EndsAtOnceWithoutATask) {
  run("cat", {});
  shim_->terminate();
  next<Exited>();
}

}  // namespace
}  // namespace flame::shims::test

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "runtime/command.hpp"

#include <gmock/gmock.h>
#include <signal.h>

#include <optional>

#include "runtime/clock.hpp"

namespace flame::runtime {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class CommandTest : public ::testing::Test {
 protected:
  proto::Result<std::string> run(CommandLine line) {
    std::optional<proto::Result<std::string>> result;
    Command command(loop_, std::move(line), [&](auto got) { result = std::move(got); });
    EXPECT_FALSE(result) << "called from inside";
    int64_t give_up = read_clock().mono_us + 20 * proto::kUsPerSecond;
    while (!result && read_clock().mono_us < give_up) loop_.turn(10'000);
    EXPECT_TRUE(result.has_value());
    return result ? *result : proto::Error{};
  }
  proto::Result<std::string> shell(const std::string& text, int64_t patience_us = 10'000'000) {
    return run({.words = {"sh", "-c", text}, .patience_us = patience_us, .output_max = 100'000});
  }
  EventLoop loop_;
};

TEST_F(CommandTest, ReturnsWhatWasPrinted) {
  auto result = shell("echo out; echo err >&2");
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(*result, "out\n");
  EXPECT_EQ(shell("head -c 90000 /dev/zero").value().size(), 90'000u);
}

TEST_F(CommandTest, ItsEnvironmentIsOursWithTheChanges) {
  setenv("FLAME_TEST_KEPT", "kept", 1);
  setenv("FLAME_TEST_CHANGED", "old", 1);
  auto result = run({.words = {"sh", "-c", "echo $FLAME_TEST_KEPT $FLAME_TEST_CHANGED"},
                     .environment = {{"FLAME_TEST_CHANGED", "new"}}});
  EXPECT_EQ(result.value(), "kept new\n");
}

TEST_F(CommandTest, AFailureHasTheCodeAndTheEndOfStderr) {
  auto result = shell("echo out; seq 1000 >&2; echo the token is expired >&2; exit 3");
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("'sh' failed with exit code 3: "));
  EXPECT_THAT(result.error().message, HasSubstr("the token is expired"));
  EXPECT_THAT(result.error().message, Not(HasSubstr("out")));
  EXPECT_LT(result.error().message.size(), 500u);
  EXPECT_THAT(shell("kill -9 $$").error().message, HasSubstr("killed by signal 9"));
}

TEST_F(CommandTest, WhatIsNotThereOrPrintsTooMuchOrTakesTooLong) {
  EXPECT_THAT(run({.words = {"/nothing/here"}}).error().message,
              HasSubstr("'/nothing/here' cannot be started: No such file"));
  EXPECT_THAT(shell("yes").error().message, HasSubstr("printed more than 100000 bytes"));
  EXPECT_THAT(shell("head -c 100001 /dev/zero").error().message, HasSubstr("printed more than"));
  EXPECT_THAT(shell("exec tail -f /dev/null", 1000).error().message,
              HasSubstr("'sh' took longer than"));
}

TEST_F(CommandTest, AChildThatKeepsThePipeIsNotWaitedFor) {
  auto result = shell("tail -f /dev/null & echo $!");
  ASSERT_TRUE(result);
  kill(std::stoi(*result), SIGKILL);
}

}  // namespace
}  // namespace flame::runtime

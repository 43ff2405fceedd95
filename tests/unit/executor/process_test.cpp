// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// The real flame-executor and real services against a fake broker over a real socket.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/executor/executor_process.hpp"

namespace flame::executor::test {
namespace {

proto::Application echo_application() {
  proto::Application application;
  application.name = "echo";
  application.command = "flame-service";
  application.arguments = {"echo"};
  return application;
}

TEST(ExecutorProcess, RunsAHundredThousandTasksOnceEach) {
  FakeBroker broker(echo_application());
  broker.tasks = 100'000;
  ExecutorProcess executor(broker.endpoint(), {"--slots", "2"});
  ASSERT_TRUE(broker.pump([&] { return broker.answered >= broker.tasks; })) << executor.log();
  EXPECT_EQ(broker.outputs.size(), broker.tasks);
  EXPECT_EQ(broker.duplicates, 0u);
  EXPECT_TRUE(broker.failures.empty());
  EXPECT_TRUE(broker.returned.empty());
  for (proto::TaskId id : {1ul, 2ul, 50'000ul, 100'000ul}) {
    EXPECT_EQ(broker.outputs[id], broker.input_of(id));
  }
  EXPECT_LT(broker.result_messages, broker.tasks / 50);
}

// The budget is 0.25 us; the bound here is lax because sanitizers and a busy machine make it
// dearer.
TEST(ExecutorProcess, SpendsLittleOnATaskThatDoesNothing) {
  FakeBroker broker(echo_application());
  broker.keep_outputs = false;
  broker.input = [text = std::string(64, 'x')](proto::TaskId) { return text; };
  broker.tasks = 1'000'000;
  ExecutorProcess executor(broker.endpoint(), {"--slots", "1"});
  ASSERT_TRUE(broker.pump([&] { return broker.answered >= 100'000; })) << executor.log();
  int64_t before = executor.cpu_us();
  auto answered = broker.answered, messages = broker.result_messages;
  ASSERT_TRUE(broker.pump([&] { return broker.answered >= broker.tasks; })) << executor.log();
  auto tasks = static_cast<double>(broker.answered - answered);
  double each = static_cast<double>(executor.cpu_us() - before) / tasks;
  RecordProperty("cpu_us_per_task", std::to_string(each));
  std::printf("%.3f us of CPU per task in executor and service, %.0f tasks per result message\n",
              each, tasks / static_cast<double>(broker.result_messages - messages));
  EXPECT_LT(each, 5.0);
}

}  // namespace
}  // namespace flame::executor::test

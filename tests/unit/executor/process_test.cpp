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

}  // namespace
}  // namespace flame::executor::test

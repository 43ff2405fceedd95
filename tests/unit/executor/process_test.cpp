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

proto::Application odd_application() {
  proto::Application application;
  application.name = "odd";
  application.command = ODD_SERVICE_PATH;
  application.arguments = {""};
  return application;
}

bool dead(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  auto name_end = text.rfind(')');
  return name_end == std::string::npos || text[name_end + 2] == 'Z' || text[name_end + 2] == 'X';
}

TEST(ExecutorProcess, AnswersTheBuiltInPing) {
  auto application = echo_application();
  application.arguments = {"flmping"};
  FakeBroker broker(application);
  broker.tasks = 1000;
  broker.common = "output-size=12\nduration-ms=0\n";
  ExecutorProcess executor(broker.endpoint(), {"--slots", "1"});
  ASSERT_TRUE(broker.pump([&] { return broker.answered >= broker.tasks; })) << executor.log();
  EXPECT_EQ(broker.outputs[1], "pong 1      ");
  EXPECT_EQ(broker.outputs[1000], "pong 1000   ");
}

TEST(ExecutorProcess, DrainsAtSigtermAndLosesNothing) {
  FakeBroker broker(echo_application());
  broker.tasks = 50'000;
  ExecutorProcess executor(broker.endpoint(), {"--slots", "2"});
  ASSERT_TRUE(broker.pump([&] { return broker.answered >= 10'000; })) << executor.log();
  executor.signal(SIGTERM);
  ASSERT_TRUE(broker.pump([&] { return broker.bye; })) << executor.log();
  EXPECT_EQ(executor.wait(), 0);
  EXPECT_TRUE(broker.draining);
  // What was on the wire when it said Bye it never saw, and the broker takes back: that can only be
  // the end of what was sent. Of everything before each task was answered or returned, not both.
  std::set<proto::TaskId> settled;
  for (const auto& [id, output] : broker.outputs) settled.insert(id);
  for (const auto& message : broker.returned) {
    EXPECT_EQ(message.code, proto::Code::kOk);
    for (const auto& run : message.runs) {
      for (auto id = run.run.first; id < run.run.end(); id++) {
        EXPECT_TRUE(settled.insert(id).second) << "answered and returned: " << id;
      }
    }
  }
  ASSERT_FALSE(settled.empty());
  EXPECT_EQ(settled.size(), *settled.rbegin()) << "a task between settled ones is missing";
  EXPECT_LE(settled.size(), broker.dispatched());
  EXPECT_EQ(broker.duplicates, 0u);
}

TEST(ExecutorProcess, ItsServicesAndTheirChildrenDoNotOutliveIt) {
  FakeBroker broker(odd_application());
  broker.input = [](proto::TaskId id) { return id == 1 ? "pid" : "grandchild"; };
  broker.tasks = 2;
  broker.run_tasks = 1;
  ExecutorProcess executor(broker.endpoint(), {"--slots", "1"});
  ASSERT_TRUE(broker.pump([&] { return broker.answered >= 2; })) << executor.log();
  pid_t service = std::stoi(broker.outputs[1]), grandchild = std::stoi(broker.outputs[2]);
  EXPECT_FALSE(dead(service));
  EXPECT_FALSE(dead(grandchild));
  executor.signal(SIGKILL);
  EXPECT_TRUE(broker.pump([&] { return dead(service) && dead(grandchild); }));
}

TEST(ExecutorProcess, GoesOnWhenAServiceCrashes) {
  FakeBroker broker(odd_application());
  broker.input = [](proto::TaskId id) { return id == 5 ? "segv" : "x"; };
  broker.tasks = 10;
  broker.retry = true;
  ExecutorProcess executor(broker.endpoint(), {"--slots", "1"});
  ASSERT_TRUE(broker.pump([&] { return broker.outputs.size() == 9 && broker.returned.size() > 2; }))
      << executor.log();
  EXPECT_EQ(broker.duplicates, 0u);
  for (const auto& message : broker.returned) {
    EXPECT_EQ(message.code, proto::Code::kTaskCrashed);
    EXPECT_THAT(message.reason, ::testing::HasSubstr("SEGV"));
    EXPECT_TRUE(message.runs[0].run.contains(proto::TaskId{5}));
  }
  // From the second attempt on it is known who it is.
  EXPECT_EQ(broker.returned[2].runs[0].run, (proto::Run{5, 1}));
}

TEST(ExecutorProcess, SaysWhatDoesNotStart) {
  auto application = echo_application();
  application.command = "no-such-program";
  FakeBroker broker(application);
  ExecutorProcess executor(broker.endpoint(), {"--slots", "1"});
  ASSERT_TRUE(broker.pump([&] { return broker.bound.size() >= 2; })) << executor.log();
  EXPECT_EQ(broker.bound[0].code, proto::Code::kTaskServiceFailed);
  EXPECT_THAT(broker.bound[0].reason, ::testing::HasSubstr("no executable no-such-program"));
}

TEST(ExecutorProcess, OpensANewSocketWhenTheBrokerFallsSilent) {
  FakeBroker broker(echo_application());
  broker.tasks = 10;
  broker.record = false;
  broker.lease_ms = 300;
  ExecutorProcess executor(broker.endpoint(), {"--slots", "1"});
  ASSERT_TRUE(broker.pump([&] { return broker.answered >= 10; })) << executor.log();
  broker.silent = true;
  ASSERT_TRUE(broker.pump([&] { return broker.hellos.size() >= 2; })) << executor.log();
  broker.silent = false;
  EXPECT_NE(broker.hello_peers[0], broker.hello_peers[1]);
  uint64_t in_hand = 0;
  for (const auto& run : broker.hellos[1].hand) in_hand += run.run.count;
  EXPECT_EQ(in_hand, 10u);
  EXPECT_EQ(broker.hellos[1].nonce, broker.hellos[0].nonce);
  // Whoever answers next gets the results again.
  broker.record = true;
  ASSERT_TRUE(broker.pump([&] { return broker.duplicates >= 10; })) << executor.log();
}

TEST(ExecutorProcess, LeavesAfterIdleExit) {
  FakeBroker broker(echo_application());
  broker.bind_at_hello = false;
  ExecutorProcess executor(broker.endpoint(), {"--slots", "1", "--idle-exit", "200ms"});
  ASSERT_TRUE(broker.pump([&] { return broker.bye; })) << executor.log();
  EXPECT_EQ(executor.wait(), 0);
}

TEST(ExecutorProcess, StopsAtOnceAtTheSecondSigterm) {
  FakeBroker broker(odd_application());
  broker.input = [](proto::TaskId) { return "hang"; };
  broker.tasks = 1;
  broker.lease_ms = 300;  // beats every 100 ms
  ExecutorProcess executor(broker.endpoint(), {"--slots", "1"});
  // Not only sent: a drain gives back what has not started.
  ASSERT_TRUE(broker.pump([&] { return broker.busy == 1; })) << executor.log();
  executor.signal(SIGTERM);
  ASSERT_TRUE(broker.pump([&] { return broker.draining; })) << executor.log();
  EXPECT_FALSE(executor.ended());
  executor.signal(SIGTERM);
  EXPECT_EQ(executor.wait(), 1);
}

TEST(ExecutorProcess, RunsACommandForEachTask) {
  proto::Application application;
  application.name = "count";
  application.shim = "shell";
  application.command = "wc";
  application.arguments = {"-c"};
  FakeBroker broker(application);
  broker.tasks = 20;
  ExecutorProcess executor(broker.endpoint(), {"--slots", "2"});
  ASSERT_TRUE(broker.pump([&] { return broker.answered >= broker.tasks; })) << executor.log();
  EXPECT_EQ(broker.outputs[20], "64\n");
}

// What makes a task cheap; what it costs in all is measured by make bench.
TEST(ExecutorProcess, AnswersManyTasksThatDoNothingInOneMessage) {
  FakeBroker broker(echo_application());
  broker.keep_outputs = false;
  broker.input = [text = std::string(64, 'x')](proto::TaskId) { return text; };
  broker.tasks = 1'000'000;
  ExecutorProcess executor(broker.endpoint(), {"--slots", "1"});
  ASSERT_TRUE(broker.pump([&] { return broker.answered >= 100'000; })) << executor.log();
  auto answered = broker.answered, messages = broker.result_messages;
  ASSERT_TRUE(broker.pump([&] { return broker.answered >= broker.tasks; })) << executor.log();
  EXPECT_GT((broker.answered - answered) / (broker.result_messages - messages), 20u);
}

}  // namespace
}  // namespace flame::executor::test

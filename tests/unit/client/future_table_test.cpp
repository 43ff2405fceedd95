// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/cpp/src/future_table.hpp"

#include <gtest/gtest.h>

#include "proto/elements.hpp"

namespace flame::detail {
namespace {

std::shared_ptr<RunState> run_of(size_t tasks) {
  auto state = std::make_shared<RunState>();
  for (size_t i = 0; i < tasks; i++) state->add_task();
  return state;
}
proto::Results results_of(proto::TaskId first, const std::vector<std::string>& outputs) {
  proto::Results results;
  results.run = {first, outputs.size()};
  results.attempt = 1;
  std::string payload;
  for (const auto& output : outputs) proto::append_element(payload, output);
  results.payload = proto::Bytes::own(std::move(payload));
  return results;
}
bool ready(const std::shared_ptr<RunState>& state, size_t index) {
  return state->wait(index, std::chrono::steady_clock::time_point{});
}

TEST(FutureTable, ResultsFindTheirFuturesHoweverTheyAreCut) {
  FutureTable table;
  auto a = run_of(3), b = run_of(2);
  table.sent(1, a);
  table.sent(2, b);
  table.acknowledged(1, {11, 3});
  table.acknowledged(2, {14, 2});
  table.take(results_of(13, {"13", "14"}));  // the end of one, the begin of the other
  EXPECT_FALSE(ready(a, 0));
  EXPECT_EQ(a->result(2).output, "13");
  EXPECT_EQ(b->result(0).output, "14");
  table.take(results_of(15, {"15"}));
  table.take(results_of(11, {"11", "12"}));
  EXPECT_EQ(a->result(0).output, "11");
  EXPECT_EQ(a->result(0).task, 11u);
  EXPECT_EQ(b->result(1).output, "15");
  EXPECT_TRUE(table.empty());
}

TEST(FutureTable, AResultMayOvertakeTheAcknowledgement) {
  FutureTable table;
  auto a = run_of(1), b = run_of(1);
  table.sent(1, a);
  table.sent(2, b);
  table.take(results_of(2, {"b"}));
  table.take(results_of(9, {"somebody else's"}));
  table.acknowledged(1, {1, 1});
  EXPECT_FALSE(ready(a, 0));
  table.acknowledged(2, {2, 1});
  EXPECT_EQ(b->result(0).output, "b");
  EXPECT_FALSE(ready(a, 0));
}

TEST(FutureTable, ACancelledRunIsOneEntryAndEveryTaskOfItIsCancelled) {
  FutureTable table;
  auto a = run_of(2), b = run_of(2);
  table.sent(1, a);
  table.sent(2, b);
  table.acknowledged(1, {1, 2});
  table.acknowledged(2, {3, 2});
  proto::Results cancelled;
  cancelled.run = {2, 3};
  cancelled.exceptions = {{2, proto::Code::kTaskCancelled, "session closed"}};
  table.take(cancelled);
  EXPECT_FALSE(ready(a, 0));
  EXPECT_EQ(a->result(1).code, Code::kTaskCancelled);
  EXPECT_EQ(b->result(0).code, Code::kTaskCancelled);
  EXPECT_EQ(b->result(1).code, Code::kTaskCancelled);
  EXPECT_EQ(b->result(1).reason, "session closed");
}

TEST(FutureTable, TheFirstResultWins) {
  FutureTable table;
  auto a = run_of(2);
  table.sent(1, a);
  table.acknowledged(1, {1, 2});
  table.take(results_of(1, {"first"}));
  table.take(results_of(1, {"second", "other"}));
  EXPECT_EQ(a->result(0).output, "first");
  EXPECT_EQ(a->result(1).output, "other");
}

TEST(FutureTable, FailedTasksCarryTheirReason) {
  FutureTable table;
  auto a = run_of(2);
  table.sent(1, a);
  table.acknowledged(1, {5, 2});
  auto results = results_of(5, {"", "fine"});
  results.attempt = 4;
  results.executor = "e";
  results.exceptions = {{5, proto::Code::kTaskCrashed, "signal 9"}};
  table.take(results);
  EXPECT_EQ(a->result(0).code, Code::kTaskCrashed);
  EXPECT_EQ(a->result(0).reason, "signal 9");
  EXPECT_EQ(a->result(0).attempt, 4u);
  EXPECT_EQ(a->result(1).output, "fine");
  EXPECT_EQ(a->result(1).executor, "e");
}

TEST(FutureTable, RefusedLostAndAbandonedOnesFail) {
  FutureTable table;
  auto refused = run_of(1), lost = run_of(2), open = run_of(1);
  table.sent(1, refused);
  table.sent(2, lost);
  table.sent(3, open);
  table.refused(1, {proto::Code::kWrongState, "closed"});
  EXPECT_EQ(refused->refusal()->message, "closed");
  EXPECT_FALSE(refused->first());
  table.acknowledged(2, {1, 2});
  table.take(results_of(1, {"done"}));
  table.lose({1, 2});
  EXPECT_EQ(lost->result(0).output, "done");
  EXPECT_EQ(lost->result(1).code, Code::kLostByStore);
  table.fail_all({proto::Code::kGone, "deleted"});
  EXPECT_EQ(open->result(0).code, Code::kGone);
  EXPECT_TRUE(table.empty());
}

TEST(FutureTable, CallbacksComeOnce) {
  FutureTable table;
  auto a = run_of(2);
  int calls = 0;
  a->then(0, [&](const TaskResult& result) { calls += result.output == "x" ? 1 : 100; });
  table.sent(1, a);
  table.acknowledged(1, {1, 2});
  table.take(results_of(1, {"x"}));
  table.take(results_of(2, {"y"}));
  EXPECT_EQ(calls, 1);
  a->then(1, [&](const TaskResult&) { calls++; });
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace flame::detail

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// What every store promises, said once and run against Redis and its twin.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/elements.hpp"
#include "proto/keys.hpp"
#include "tests/contract/store_world.hpp"

namespace flame::tests {
namespace {

using namespace broker;  // NOLINT: the operations are the words of these tests
using proto::Bytes;
using proto::Run;
using proto::TaskState;
using testing::IsEmpty;

Bytes elements(std::initializer_list<std::string_view> contents) {
  std::string payload;
  for (auto content : contents) proto::append_element(payload, content);
  return Bytes::own(std::move(payload));
}

PutOutput output(const std::string& session, Run run, std::string_view content) {
  proto::OutputHead head;
  head.executor = "ex-1";
  std::string payload;
  for (uint64_t i = 0; i < run.count; i++) proto::append_element(payload, content);
  return {session, run, proto::encode_output_head(head, run.count), Bytes::own(std::move(payload))};
}

PutSession session(const std::string& name, int64_t created_ms = 1000) {
  return {name, created_ms, {{"state", "Open"}, {"tasks", "0"}}, Bytes::copy("common")};
}

template <class W>
class StoreContract : public testing::Test {
 protected:
  Teller teller(const std::string& name) { return Teller(world_, world_.make_store(name)); }
  W world_;
};

using Worlds = testing::Types<MemoryWorld, RedisWorld>;
TYPED_TEST_SUITE(StoreContract, Worlds);

TYPED_TEST(StoreContract, AFreshStoreBeginsWithBatchOne) {
  auto a = this->teller("a");
  auto recovered = a.start();
  EXPECT_EQ(recovered.epoch_number, 1u);
  EXPECT_EQ(recovered.last_batch, 0u);
  EXPECT_EQ(recovered.secret.size(), 16u);
  EXPECT_FALSE(recovered.lineage_broken);
  EXPECT_THAT(recovered.sessions, IsEmpty());
  EXPECT_EQ(this->world_.table(), (Table{{"flame:meta", "hash batch=0"}}));
}

TYPED_TEST(StoreContract, EveryOperationHasItsKeys) {
  auto a = this->teller("a");
  a.start();
  a.write({PutApplication{"app", "value"}, session("s"),
           PutInput{"s", {1, 2}, {elements({"one"}), elements({"two"})}},
           PutState{"s", {1, 2}, TaskState::kPending}, PutInput{"s", {3, 1}, {elements({"three"})}},
           PutState{"s", {3, 1}, TaskState::kRunning},
           PutFields{"s", {{"tasks", "3"}, {"pending", "2"}}}, PutSubmits{"s", "c1", "history"},
           PutReader{"s", "r1", "1 500"}, PutAttempts{"s", {{1, 2}, {3, 1}}},
           PutEvent{"s", 77, "bound", "slot 1"}, PutExecutor{"ex-1", "row"},
           PutDemand{"app", "row"}});
  Table after = {
      {"flame:apps", "hash app=value"},
      {"flame:demand", "hash app=row"},
      {"flame:executors", "hash ex-1=row"},
      {"flame:meta", "hash batch=1"},
      {"flame:sessions", "zset s=1000"},
      {"flame:{s}:attempts", "hash 1=2 3=1"},
      {"flame:{s}:common", "string common"},
      {"flame:{s}:events", "stream [at=77 code=bound text=slot 1]"},
      {"flame:{s}:input:0", R"(hash 1-2=\x92\xc4\x03one\xc4\x03two 3=\x91\xc4\x05three)"},
      {"flame:{s}:readers", "hash r1=1 500"},
      {"flame:{s}:session", "hash pending=2 state=Open tasks=3"},
      {"flame:{s}:state:0", "string PPR"},
      {"flame:{s}:submits", "hash c1=history"},
  };
  EXPECT_EQ(this->world_.table(), after);

  a.write({output("s", {1, 2}, "out"), PutState{"s", {1, 2}, TaskState::kSucceed},
           DropInput{"s", {{1, 2}}}, PutAttempts{"s", {{1, 0}}}, PutSubmits{"s", "c1", ""},
           PutReader{"s", "r1", ""}});
  Table table = this->world_.table();
  EXPECT_THAT(table["flame:{s}:output:0"], testing::HasSubstr(R"(1-2=\x97\xa4ex-1)"));
  table.erase("flame:{s}:output:0");
  after["flame:meta"] = "hash batch=2";
  after["flame:{s}:attempts"] = "hash 3=1";
  after["flame:{s}:done"] = "list 1-2";
  after["flame:{s}:input:0"] = R"(hash 3=\x91\xc4\x05three)";
  after["flame:{s}:state:0"] = "string SSR";
  after.erase("flame:{s}:submits");
  after.erase("flame:{s}:readers");
  EXPECT_EQ(table, after);

  a.write({TrimDone{"s", 1}, DropOutput{"s", {{1, 2}}}, PutFields{"s", {{"done_first", "1"}}},
           PutExecutor{"ex-1", ""}, DropApplication{"app"}});
  after["flame:meta"] = "hash batch=3";
  after["flame:{s}:session"] = "hash done_first=1 pending=2 state=Open tasks=3";
  for (auto key : {"flame:{s}:done", "flame:executors", "flame:apps", "flame:demand"})
    after.erase(key);
  EXPECT_EQ(this->world_.table(), after);

  a.write({DropSegments{"s", 0, 0, false}, DropResults{"s"}});
  EXPECT_EQ(this->world_.table(), (Table{{"flame:meta", "hash batch=4"},
                                         {"flame:sessions", "zset s=1000"},
                                         {"flame:{s}:session", after["flame:{s}:session"]},
                                         {"flame:{s}:state:0", "string SSR"}}));
  a.write({DropSegments{"s", 0, 0, true}, DropSession{"s"}});
  EXPECT_EQ(this->world_.table(), (Table{{"flame:meta", "hash batch=5"}}));
}

TYPED_TEST(StoreContract, OperationsOfOneSessionKeepTheirOrderWhereItMatters) {
  auto a = this->teller("a");
  a.start();
  a.write({session("s"), PutInput{"s", {1, 2}, {elements({"a", "b"})}},
           PutState{"s", {1, 2}, TaskState::kPending}, PutState{"s", {1, 1}, TaskState::kCancelled},
           PutState{"s", {2, 1}, TaskState::kCancelled}, output("s", {1, 2}, ""),
           DropInput{"s", {{1, 2}}}, PutFields{"s", {{"state", "Closing"}}},
           PutFields{"s", {{"state", "Closed"}}}});
  Table table = this->world_.table();
  EXPECT_EQ(table["flame:{s}:state:0"], "string CC");
  EXPECT_EQ(table["flame:{s}:session"], "hash state=Closed tasks=0");
  EXPECT_EQ(table.count("flame:{s}:input:0"), 0u);
  EXPECT_EQ(table["flame:{s}:done"], "list 1-2");
}

TYPED_TEST(StoreContract, SegmentsHaveKeysOfTheirOwn) {
  auto a = this->teller("a");
  a.start();
  uint64_t second = proto::kSegmentTasks + 1;
  a.write({session("s"), PutInput{"s", {second, 1}, {elements({"x"})}},
           PutInput{"s", {second - 1, 1}, {elements({"y"})}},
           PutState{"s", {second, 1}, TaskState::kPending}, DropInput{"s", {{second - 1, 1}}}});
  Table table = this->world_.table();
  EXPECT_EQ(table["flame:{s}:input:1"], R"(hash 1048577=\x91\xc4\x01x)");
  EXPECT_EQ(table["flame:{s}:state:1"], "string P");
  EXPECT_EQ(table.count("flame:{s}:input:0"), 0u);
}

TYPED_TEST(StoreContract, ReadsSeeWhatWasConfirmed) {
  auto a = this->teller("a");
  a.start();
  a.write({session("s"), PutInput{"s", {1, 2}, {elements({"a", "b"})}}, output("s", {5, 1}, "five"),
           output("s", {7, 1}, "seven"), output("s", {8, 2}, "eight"),
           PutEvent{"s", 5, "closed", "why"}});
  auto inputs = a.template ask<InputsRead>(ReadInputs{11, "s", {{9, 1}, {1, 2}}});
  EXPECT_EQ(inputs.tag, 11u);
  ASSERT_EQ(inputs.values.size(), 2u);
  EXPECT_TRUE(inputs.values[0].empty());
  EXPECT_EQ(proto::decode_input(inputs.values[1].view(), 2).value(), elements({"a", "b"}).view());

  auto outputs = a.template ask<OutputsRead>(ReadOutputs{12, "s", 1, 10, 1});
  EXPECT_EQ(outputs.first, 1u);
  EXPECT_EQ(outputs.runs, (std::vector<Run>{{7, 1}, {8, 2}}));
  ASSERT_EQ(outputs.values.size(), 2u);
  EXPECT_EQ(proto::decode_output(outputs.values[1].view(), 2).value().head.executor, "ex-1");

  EXPECT_EQ(a.template ask<CommonRead>(ReadCommon{13, "s"}).value.view(), "common");
  auto events = a.template ask<EventsRead>(ReadEvents{14, "s"});
  ASSERT_EQ(events.events.size(), 1u);
  EXPECT_EQ(events.events[0].find("at_ms")->number(), 5);
  EXPECT_EQ(*events.events[0].find("code")->text(), "closed");
  EXPECT_TRUE(a.template ask<CommonRead>(ReadCommon{15, "nobody"}).value.empty());
}

TYPED_TEST(StoreContract, TheNewestEventsAreKept) {
  auto a = this->teller("a");
  a.start();
  a.write({session("s")});
  int64_t last = 3 * static_cast<int64_t>(proto::kEventsKept);
  std::vector<StoreOp> ops;
  for (int64_t at_ms = 1; at_ms <= last; at_ms++)
    ops.push_back(PutEvent{"s", at_ms, "retried", "why"});
  a.write(std::move(ops));
  auto events = a.template ask<EventsRead>(ReadEvents{1, "s"}).events;
  ASSERT_GE(events.size(), proto::kEventsKept);
  EXPECT_LT(events.size(), proto::kEventsKept + 100) << "Redis drops them by the hundred";
  auto at_ms = last - static_cast<int64_t>(events.size());
  for (const auto& event : events) EXPECT_EQ(event.number_at("at_ms"), ++at_ms);
}

TYPED_TEST(StoreContract, SingleTasksAreFoundByTheirId) {
  auto a = this->teller("a");
  a.start();
  proto::TaskId second = proto::kSegmentTasks + 1;
  std::string large(1000, 'x');
  a.write({session("s"), PutState{"s", {1, 9}, TaskState::kPending},
           PutState{"s", {7, 2}, TaskState::kSucceed},
           PutState{"s", {second, 1}, TaskState::kFailed}, output("s", {8, 1}, large),
           output("s", {second, 1}, large), output("s", {5, 1}, large),
           output("s", {7, 1}, large)});
  auto letters = [&](const Run& run) {
    return a.template ask<StatesRead>(ReadStates{1, "s", run}).letters;
  };
  EXPECT_EQ(letters({6, 3}), "PSS");
  EXPECT_EQ(letters({9, 100}), "P") << "shorter: there are no more";
  EXPECT_EQ(letters({second, 1}), "F");
  EXPECT_EQ(letters({50, 1}), "");

  auto found = a.template ask<OutputsFound>(FindOutputs{2, "s", {{6, 2}, {second, 1}}});
  EXPECT_EQ(found.runs, (std::vector<Run>{{7, 1}, {second, 1}}));
  ASSERT_EQ(found.values.size(), 2u);
  EXPECT_TRUE(proto::decode_output(found.values[1].view(), 1));
  EXPECT_EQ(found.end, UINT64_MAX);
  auto cut = a.template ask<OutputsFound>(FindOutputs{3, "s", {{1, 10}}, 1500});
  EXPECT_EQ(cut.runs, (std::vector<Run>{{5, 1}}));
  EXPECT_EQ(cut.end, 7u) << "the first that was left out";
  EXPECT_TRUE(a.template ask<OutputsFound>(FindOutputs{4, "s", {{1, 2}}}).runs.empty());
  EXPECT_TRUE(a.template ask<OutputsFound>(FindOutputs{5, "nobody", {{1, 2}}}).runs.empty());
}

TYPED_TEST(StoreContract, OutputsAreFoundInALongList) {
  auto a = this->teller("a");
  a.start();
  constexpr uint64_t kEntries = 10'000;  // more than a store looks at in one step
  std::vector<StoreOp> ops = {session("s")};
  for (proto::TaskId id = 1; id <= kEntries; id++) ops.push_back(output("s", {id, 1}, "o"));
  a.write(std::move(ops));
  auto found =
      a.template ask<OutputsFound>(FindOutputs{1, "s", {{1, 1}, {5000, 2}, {kEntries, 1}}});
  EXPECT_EQ(found.runs, (std::vector<Run>{{1, 1}, {5000, 1}, {5001, 1}, {kEntries, 1}}));
}

TYPED_TEST(StoreContract, APositionThatWasTrimmedMeanwhileIsFoundByItsIndex) {
  auto a = this->teller("a");
  a.start();
  a.write(
      {session("s"), output("s", {1, 1}, "1"), output("s", {2, 1}, "2"), output("s", {3, 1}, "3")});
  a.write({TrimDone{"s", 1}, DropOutput{"s", {{1, 1}}}, PutFields{"s", {{"done_first", "1"}}}});
  auto read =
      a.template ask<OutputsRead>(ReadOutputs{1, "s", 1, 10, 1});  // as it was before the trim
  EXPECT_EQ(read.runs, (std::vector<Run>{{2, 1}, {3, 1}}));
  EXPECT_EQ(a.template ask<OutputsRead>(ReadOutputs{1, "s", 0, 10, 0}).error.code,
            proto::Code::kTrimmed);
}

TYPED_TEST(StoreContract, OutputsAreReadUpToABoundButAlwaysOne) {
  auto a = this->teller("a");
  a.start();
  std::string large(1000, 'x');
  a.write({session("s"), output("s", {1, 1}, large), output("s", {2, 1}, large),
           output("s", {proto::kSegmentTasks + 1, 1}, large)});
  auto runs_within = [&](uint64_t bytes) {
    return a.template ask<OutputsRead>(ReadOutputs{1, "s", 0, 10, 0, bytes}).runs.size();
  };
  EXPECT_EQ(runs_within(1), 1u);
  EXPECT_EQ(runs_within(1999), 1u);
  EXPECT_EQ(runs_within(2999), 2u);
  EXPECT_EQ(runs_within(4000), 3u);
  EXPECT_EQ(runs_within(UINT64_MAX), 3u);
}

TYPED_TEST(StoreContract, ANewBrokerRecoversEverythingButPayloads) {
  {
    auto a = this->teller("a");
    a.start();
    a.write(
        {PutApplication{"app", "v"}, PutExecutor{"ex", "row"}, session("young", 2000),
         session("old", 1000), PutInput{"old", {1, 2}, {elements({"a", "b"})}},
         PutState{"old", {1, 2}, TaskState::kPending}, PutInput{"old", {3, 1}, {elements({"c"})}},
         PutState{"old", {3, 1}, TaskState::kRunning}, output("old", {4, 1}, "x"),
         PutState{"old", {4, 1}, TaskState::kSucceed}, PutFields{"old", {{"tasks", "4"}}},
         PutAttempts{"old", {{3, 2}}}, PutSubmits{"old", "c", "h"}, PutReader{"old", "r", "0 1"}});
  }
  auto b = this->teller("a");
  auto found = b.start();
  EXPECT_EQ(found.epoch_number, 2u);
  EXPECT_EQ(found.last_batch, 1u);
  EXPECT_FALSE(found.lineage_broken) << found.reason;
  EXPECT_THAT(found.applications, testing::ElementsAre(testing::Pair("app", "v")));
  EXPECT_THAT(found.executors, testing::ElementsAre(testing::Pair("ex", "row")));
  ASSERT_EQ(found.sessions.size(), 2u);
  const auto& old = found.sessions[0];
  EXPECT_EQ(old.session, "old");
  EXPECT_EQ(found.sessions[1].session, "young");
  EXPECT_THAT(old.fields,
              testing::ElementsAre(testing::Pair("state", "Open"), testing::Pair("tasks", "4")));
  EXPECT_THAT(old.states, testing::ElementsAre(testing::Pair(0u, "PPRS")));
  EXPECT_EQ(old.inputs, (std::vector<Run>{{1, 2}, {3, 1}}));
  EXPECT_EQ(old.done_length, 1u);
  EXPECT_THAT(old.attempts, testing::ElementsAre(testing::Pair(3u, 2u)));
  EXPECT_THAT(old.submits, testing::ElementsAre(testing::Pair("c", "h")));
  EXPECT_THAT(old.readers, testing::ElementsAre(testing::Pair("r", "0 1")));
}

TYPED_TEST(StoreContract, LineageAndSecretStayWhileNothingIsLost) {
  Recovered first, second;
  {
    auto a = this->teller("a");
    first = a.start();
    a.write({session("s")});
  }
  auto b = this->teller("a");
  second = b.start();
  EXPECT_EQ(first.lineage, second.lineage);
  EXPECT_EQ(first.secret, second.secret);
  EXPECT_NE(first.epoch, second.epoch);
}

TYPED_TEST(StoreContract, TheReplacedBrokerIsFencedAndWritesNothing) {
  auto a = this->teller("a");
  a.start();
  a.write({session("s")});
  auto b = this->teller("b");
  auto found = b.start();
  EXPECT_EQ(found.last_batch, 1u);
  Table before = this->world_.table();
  a.send({PutFields{"s", {{"state", "by the old one"}}}});
  a.template wait<Fenced>();
  EXPECT_EQ(this->world_.table(), before);
  b.write({PutFields{"s", {{"state", "by the new one"}}}});
  EXPECT_EQ(this->world_.table()["flame:{s}:session"], "hash state=by the new one tasks=0");
}

TYPED_TEST(StoreContract, AReplacedBrokerWithNothingToWriteIsFencedToo) {
  auto a = this->teller("a");
  a.start();
  auto b = this->teller("b");
  b.start();
  a.template wait<Fenced>();
  b.write({session("s")});
}

TYPED_TEST(StoreContract, ARestartOfRedisIsSaidAndThenForgotten) {
  auto a = this->teller("a");
  a.start();
  a.write({session("s")});
  this->world_.restart_redis();
  a.wait_health([](const StoreHealth& health) { return !health.writable; });
  a.wait_health([](const StoreHealth& health) { return health.writable; });
  a.write({PutFields{"s", {{"state", "after"}}}});
  Table table = this->world_.table();
  EXPECT_EQ(table["flame:{s}:session"], "hash state=after tasks=0");
  EXPECT_EQ(table["flame:meta"], "hash batch=2");
}

TYPED_TEST(StoreContract, ASpoiledSessionIsNamedAndHarmsNoOther) {
  auto a = this->teller("a");
  a.start();
  a.write({session("bad"), session("good")});
  this->world_.spoil("bad");
  a.send({PutFields{"bad", {{"state", "x"}}}, PutFields{"good", {{"state", "y"}}}});
  EXPECT_EQ(a.template wait<SessionRefused>().session, "bad");
  EXPECT_EQ(a.template wait<BatchStored>().number, 2u);
  EXPECT_EQ(this->world_.table()["flame:{good}:session"], "hash state=y tasks=0");
}

TYPED_TEST(StoreContract, AFullStoreTakesWhatMakesRoomWithWhatCameBeforeAndNothingElse) {
  auto a = this->teller("a");
  a.start();
  a.write({session("s"), output("s", {1, 2}, "x"), session("other")});
  this->world_.fill(true);
  uint64_t first = a.send({output("other", {1, 1}, "y")});
  EXPECT_TRUE(a.wait_health([](const StoreHealth& health) { return !health.writable; }).full);
  a.store().make_room(first + 1, this->world_.now());
  EXPECT_EQ(a.template wait<BatchStored>().number, first);
  a.write({DropSegments{"s", 0, 0, true}, DropResults{"s"}, DropSession{"s"}});
  Table after = {{"flame:meta", "hash batch=3"},
                 {"flame:sessions", "zset other=1000"},
                 {"flame:{other}:common", "string common"},
                 {"flame:{other}:session", "hash state=Open tasks=0"},
                 {"flame:{other}:done", "list 1"}};
  auto without_outputs = [&] {
    Table table = this->world_.table();
    table.erase("flame:{other}:output:0");
    return table;
  };
  EXPECT_EQ(without_outputs(), after);
  uint64_t last = a.send({PutFields{"other", {{"state", "x"}}}});
  a.template ask<StatesRead>(ReadStates{1, "other", {1, 1}});
  EXPECT_EQ(without_outputs(), after);
  this->world_.fill(false);
  EXPECT_EQ(a.template wait<BatchStored>().number, last);
}

TYPED_TEST(StoreContract, WhatIsAskedAboutBecomesDurable) {
  this->world_.add_replica();
  auto a = this->teller("a");
  a.start();
  auto wait = [&](proto::Durability level, uint64_t batch) {
    for (;;) {
      auto durable = a.template wait<Durable>();
      if (durable.level == level && durable.batch >= batch) return;
    }
  };
  for (auto level : {proto::Durability::kReplicated, proto::Durability::kSynced}) {
    a.write({session("s")});
    uint64_t first = a.last();
    a.store().await({level, first}, this->world_.now());
    a.write({session("t")});
    a.store().await({level, a.last()}, this->world_.now());
    wait(level, a.last());
    a.store().await({level, first}, this->world_.now());  // known already
    wait(level, first);
  }
}

TYPED_TEST(StoreContract, AReplicaThatStandsStillIsSaidAndWaitedFor) {
  this->world_.add_replica();
  auto a = this->teller("a");
  a.start();
  a.write({session("s")});
  this->world_.stop_replica(true);
  a.store().await({proto::Durability::kReplicated, a.last()}, this->world_.now());
  auto late = a.template wait<DurableLate>();
  EXPECT_EQ(late.level, proto::Durability::kReplicated);
  EXPECT_THAT(late.reason, testing::HasSubstr("0 of 1 replicas"));
  a.write({session("t")});  // nobody else waits
  EXPECT_THAT(a.events(),
              testing::Not(testing::Contains(testing::VariantWith<Durable>(testing::_))));
  this->world_.stop_replica(false);
  EXPECT_EQ(a.template wait<Durable>().batch, a.last() - 1);
}

TYPED_TEST(StoreContract, ACleanStopIsRemembered) {
  std::string lineage;
  {
    auto a = this->teller("a");
    lineage = a.start().lineage;
    a.send({session("s")});
    a.store().close(this->world_.now());
    EXPECT_EQ(a.template wait<StoreClosed>().error.message, "");
  }
  this->world_.restart_redis();
  auto b = this->teller("elsewhere");
  auto found = b.start();
  EXPECT_FALSE(found.lineage_broken) << found.reason;
  EXPECT_EQ(found.lineage, lineage);
  EXPECT_EQ(found.sessions.size(), 1u);
}

TYPED_TEST(StoreContract, WithoutItsRingARestartedRedisIsNotTrusted) {
  std::string lineage;
  {
    auto a = this->teller("a");
    lineage = a.start().lineage;
    a.write({session("s")});
  }
  this->world_.restart_redis();
  auto b = this->teller("elsewhere");
  auto found = b.start();
  EXPECT_TRUE(found.lineage_broken);
  EXPECT_THAT(found.reason, testing::HasSubstr("ring"));
  EXPECT_EQ(found.lineage, lineage);
  b.store().accept_loss(this->world_.now());
  b.template wait<LineageAccepted>();
  auto again = b.template wait<Recovered>();
  EXPECT_FALSE(again.lineage_broken);
  EXPECT_NE(again.lineage, lineage);
  EXPECT_NE(again.secret, found.secret);
  ASSERT_EQ(again.sessions.size(), 1u);
  b.set_last(again.last_batch);
  b.write({PutFields{"s", {{"state", "on"}}}});
}

TYPED_TEST(StoreContract, ABrokenLineageStaysBrokenUntilItIsAccepted) {
  {
    auto a = this->teller("a");
    a.start();
    a.write({session("s")});
  }
  this->world_.restart_redis();
  { EXPECT_TRUE(this->teller("b").start().lineage_broken); }
  EXPECT_TRUE(this->teller("c").start().lineage_broken);
}

}  // namespace
}  // namespace flame::tests

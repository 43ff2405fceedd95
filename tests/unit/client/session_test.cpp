// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// The public classes against a broker in a thread.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "flame/flame.hpp"
#include "tests/unit/client/fake_broker.hpp"

namespace flame {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;

class SessionTest : public testing::Test {
 protected:
  Session create(std::string id = "") {
    SessionOptions options;
    options.application = "app";
    options.session = std::move(id);
    return client.create_session(options);
  }
  static Code code_of(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.code();
    }
    return Code::kOk;
  }
  static flame::Run run_of(std::string_view input) {
    flame::Run run;
    run.add(input);
    return run;
  }
  static std::vector<std::string> numbers(size_t count) {
    std::vector<std::string> inputs;
    for (size_t i = 0; i < count; i++) inputs.push_back(std::to_string(i));
    return inputs;
  }

  test::FakeBroker broker;
  Client client = Client::connect(broker.endpoint());
};

TEST_F(SessionTest, ATaskHasItsResult) {
  auto session = create();
  EXPECT_TRUE(session.id().starts_with("app-"));
  auto future = session.submit("hello");
  EXPECT_EQ(future.get(), "hello");
  EXPECT_EQ(future.id(), 1u);
  EXPECT_TRUE(future.ready());
  EXPECT_EQ(future.result().task, 1u);
}

TEST_F(SessionTest, TasksSubmittedTogetherTravelTogether) {
  auto session = create();
  std::vector<Future> futures;
  for (int i = 0; i < 20'000; i++) futures.push_back(session.submit(std::to_string(i)));
  for (int i = 0; i < 20'000; i++)
    ASSERT_EQ(futures[static_cast<size_t>(i)].get(), std::to_string(i));
  EXPECT_LT(broker.submits, 20'000u);
}

TEST_F(SessionTest, MapKeepsTheOrder) {
  auto inputs = numbers(5'000);
  EXPECT_EQ(create().map(inputs), inputs);
}

TEST_F(SessionTest, AsCompletedReturnsEachOnce) {
  auto session = create();
  auto futures = session.submit_many(numbers(100));
  std::set<uint64_t> ids;
  for (Future& future : as_completed(futures)) ids.insert(future.id());
  EXPECT_EQ(ids.size(), 100u);
  EXPECT_TRUE(wait_all(futures, 0ms));
}

TEST_F(SessionTest, FailedTasksThrowTheirReason) {
  broker.fail_tasks = true;
  auto session = create();
  auto future = session.submit("x");
  EXPECT_EQ(code_of([&] { future.get(); }), Code::kTaskFailed);
  EXPECT_EQ(future.result().reason, "exit code 1\nboom");
}

TEST_F(SessionTest, SubmittingToAClosedSessionIsToldByTheFuture) {
  auto session = create();
  EXPECT_EQ(session.close().state, SessionState::kClosed);
  auto future = session.submit("x");
  EXPECT_EQ(code_of([&] { future.get(); }), Code::kWrongState);
  EXPECT_EQ(code_of([&] { future.id(); }), Code::kWrongState);
}

TEST_F(SessionTest, WhereSubmitWouldWaitTrySubmitSaysSo) {
  broker.busy_submits = 1'000'000'000;
  auto session = create();
  const std::string input(200'000, 'x');  // a run of its own
  std::vector<Future> futures;
  while (auto future = session.try_submit(input)) {
    futures.push_back(*future);
    ASSERT_LE(futures.size(), 2 * 64u + 1) << "64 are on their way, 64 wait";
  }
  EXPECT_GE(futures.size(), 64u);
  auto waits = std::async(std::launch::async, [&] { return session.submit(input).get(); });
  EXPECT_EQ(broker.submits, 0u);
  broker.busy_submits = 0;
  EXPECT_EQ(waits.get(), input);
  EXPECT_TRUE(wait_all(futures, 20s));
  EXPECT_TRUE(session.try_submit(input)) << "there is room again";
}

TEST_F(SessionTest, ACallbackComesOnceWhetherTheResultIsThereOrNot) {
  auto session = create();
  std::atomic<int> calls{0};
  auto count = [&](const TaskResult& result) { calls += result.output == "x" ? 1 : 100; };
  auto future = session.submit("x");
  future.then(count);
  EXPECT_EQ(future.get(), "x");
  future.then(count);
  EXPECT_EQ(session.submit("y").get(), "y");  // behind it on the same thread
  EXPECT_EQ(calls, 2);
}

TEST_F(SessionTest, OpenOrCreateDoesEither) {
  SessionOptions options{.application = "app", .session = "mine"};
  auto first = client.open_or_create_session(options);
  EXPECT_EQ(first.submit("a").id(), 1u);
  EXPECT_EQ(client.open_or_create_session(options).submit("b").id(), 2u);
}

TEST_F(SessionTest, TooLargeInputsAreRefusedHere) {
  auto session = create();
  std::string large((64 << 20) + 1, 'x');
  EXPECT_EQ(code_of([&] { session.submit(large); }), Code::kTooLarge);
  EXPECT_EQ(broker.submits, 0u);
}

TEST_F(SessionTest, RunsAreAcknowledgedAsRangesAndReadAsAStream) {
  auto session = create();
  for (int r = 0; r < 3; r++) {
    flame::Run run;
    while (run.add("abc")) {
    }
    EXPECT_EQ(run.count(), 1024u);
    session.submit_run(std::move(run));
  }
  auto ranges = session.flush();
  ASSERT_EQ(ranges.size(), 1u);
  EXPECT_EQ(ranges[0].first, 1u);
  EXPECT_EQ(ranges[0].count, 3 * 1024u);
  uint64_t count = 0;
  for (TaskResult& result : session.results({.follow = false})) EXPECT_EQ(result.task, ++count);
  EXPECT_EQ(count, 3 * 1024u);
}

TEST_F(SessionTest, AFlushWaitsForTasksWithFuturesToo) {
  broker.busy_submits = 1'000'000'000;
  auto session = create();
  auto one = session.submit("one");
  auto more = session.submit_many(numbers(2'000));
  EXPECT_EQ(code_of([&] { session.flush(30ms); }), Code::kTimeout);
  broker.busy_submits = 0;
  EXPECT_TRUE(session.flush().empty()) << "the ids of these are told by their futures";
  EXPECT_EQ(session.status().tasks, 2'001u);
  session.submit_run(run_of("x"));
  EXPECT_EQ(session.flush().at(0).first, 2'002u);
  EXPECT_TRUE(session.flush().empty()) << "told once";
}

TEST_F(SessionTest, AFlushThrowsTheRefusalsThatNoFutureCarries) {
  auto session = create();
  session.close();
  auto future = session.submit("x");
  EXPECT_TRUE(session.flush().empty());
  EXPECT_EQ(code_of([&] { future.id(); }), Code::kWrongState);
  session.submit_run(run_of("x"));
  EXPECT_EQ(code_of([&] { session.flush(); }), Code::kWrongState);
  EXPECT_TRUE(session.flush().empty()) << "thrown once";
}

TEST_F(SessionTest, AFlushDoesNotWaitForASessionThatIsGone) {
  for (bool reads_results : {false, true}) {
    auto session = create();
    session.submit_run(run_of("x"));
    session.flush();
    if (reads_results) {
      EXPECT_EQ(session.submit("x").get(), "x");
    }
    broker.forget_sessions = true;
    for (int i = 0; i < 3; i++) {
      auto submit = [&] {
        session.submit_run(run_of("x"));
        session.flush(10s);
      };
      EXPECT_THAT(code_of(submit), AnyOf(Code::kNotFound, Code::kGone)) << i;
    }
    EXPECT_EQ(code_of([&] { session.flush(10s); }), Code::kOk) << "and nothing is left to wait for";
  }
}

TEST_F(SessionTest, AStreamGoesOnFromItsCursor) {
  auto session = create();
  session.map(numbers(10));
  auto stream = session.results({.follow = false});
  while (stream.next()) {
  }
  Cursor cursor = Cursor::parse(stream.cursor().to_string());
  EXPECT_EQ(cursor.lineage, "lineage");
  session.map(numbers(3));
  std::vector<uint64_t> ids;
  for (TaskResult& result : session.results({.after = cursor, .follow = false}))
    ids.push_back(result.task);
  EXPECT_THAT(ids, ElementsAre(11, 12, 13));
}

TEST_F(SessionTest, AStreamAndFuturesGetTheSameResults) {
  auto session = create();
  auto stream = session.results({.only_new = true});
  auto futures = session.submit_many(numbers(2'000));
  uint64_t count = 0;
  while (count < 2'000 && stream.next_for(10s)) count++;
  EXPECT_EQ(count, 2'000u);
  EXPECT_TRUE(wait_all(futures, 10s));
}

TEST_F(SessionTest, AForeignCursorEndsTheStreamAndNotTheFutures) {
  auto session = create();
  EXPECT_EQ(session.submit("a").get(), "a");
  auto stream = session.results({.after = Cursor{"another", 0}});
  EXPECT_EQ(code_of([&] { stream.next_for(10s); }), Code::kLostLineage);
  EXPECT_EQ(session.submit("b").get(), "b");
}

TEST_F(SessionTest, ACursorOfAnotherSessionIsRefusedAndOneThatNamesNoneIsTaken) {
  auto one = create("one"), two = create("two");
  EXPECT_EQ(one.submit("a").get(), "a");
  EXPECT_EQ(two.submit("b").get(), "b");
  auto stream = one.results({.follow = false});
  while (stream.next()) {
  }
  auto cursor = Cursor::parse(stream.cursor().to_string());
  EXPECT_EQ(cursor.session, "one#1");
  try {
    two.results({.after = cursor});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::kBadRequest);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("one#1"), HasSubstr("two#2")));
  }
  cursor = Cursor::parse("lineage:0");
  EXPECT_EQ(two.results({.after = cursor, .follow = false}).next()->output, "b");
}

TEST_F(SessionTest, WaitingForNothingTimesOut) {
  auto session = create();
  auto stream = session.results();
  EXPECT_EQ(code_of([&] { stream.next_for(1ms); }), Code::kTimeout);
}

TEST_F(SessionTest, ResultsSurviveABrokerThatForgets) {
  auto session = create();
  auto futures = session.submit_many(numbers(1'000));
  broker.forget_links = true;
  auto more = session.submit_many(numbers(1'000));
  EXPECT_TRUE(wait_all(futures, 20s));
  EXPECT_TRUE(wait_all(more, 20s));
  EXPECT_EQ(more.back().get(), "999");
}

TEST_F(SessionTest, HandlesOfOneSessionAreOne) {
  auto session = create("s1");
  auto again = client.open_session("s1");
  EXPECT_EQ(session.submit("a").get(), "a");
  EXPECT_EQ(again.submit("b").id(), 2u);
  EXPECT_EQ(code_of([&] { client.open_session("s2"); }), Code::kNotFound);
  EXPECT_EQ(code_of([&] { create("s1"); }), Code::kAlreadyExists);
}

TEST_F(SessionTest, DroppingTheLastHandleEndsItsFutures) {
  Future future;
  {
    auto session = create();
    broker.drop_outgoing = 1'000'000;
    future = session.submit("x");
  }
  EXPECT_EQ(code_of([&] { future.get(); }), Code::kInterrupted);
}

TEST_F(SessionTest, EmptyHandlesSaySo) {
  EXPECT_EQ(code_of([] { Session().submit("x"); }), Code::kBadRequest);
  EXPECT_EQ(code_of([] { Future().get(); }), Code::kBadRequest);
  EXPECT_EQ(code_of([] { Cursor::parse("a:b"); }), Code::kBadRequest);
  EXPECT_EQ(code_of([] { Cursor::parse("a:1@"); }), Code::kBadRequest);
}

TEST_F(SessionTest, ListsWhatThereIs) {
  create("s1");
  EXPECT_EQ(client.list_sessions().at(0).session, "s1");
  EXPECT_EQ(client.list_executors().at(0).slots, 2u);
  EXPECT_EQ(client.close_session("s1").state, SessionState::kClosed);
}

TEST(Client, NobodyThereIsNoBroker) {
  try {
    Client::connect("tcp://127.0.0.1:1", {.connect_timeout = 20ms});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::kNoBroker);
    EXPECT_EQ(to_string(error.code()), "no_broker");
  }
}

}  // namespace
}  // namespace flame

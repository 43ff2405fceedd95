// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/cpp/src/connection.hpp"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <set>

#include "proto/elements.hpp"
#include "proto/rows.hpp"
#include "tests/unit/client/fake_broker.hpp"

namespace flame::client {
namespace {

constexpr uint64_t kPatienceMs = 20'000;

/// Submits `runs` runs of ten tasks and ticks their results off.
class Counter : public SessionListener {
 public:
  explicit Counter(uint64_t runs) : runs_(runs) {
    for (int i = 0; i < 10; i++) proto::append_element(payload_, "abc");
  }
  std::optional<OutgoingRun> next_run() override {
    if (given_ == runs_) return std::nullopt;
    given_++;
    return OutgoingRun{given_, 10, proto::Bytes::copy(payload_), false};
  }
  void on_submitted(uint64_t, const proto::Run& run, proto::Durability) override {
    std::lock_guard lock(mutex_);
    acknowledged += run.count;
  }
  bool on_results(proto::Results&& results) override {
    std::lock_guard lock(mutex_);
    for (auto id = results.run.first; id < results.run.end(); id++)
      doubled += ids.insert(id).second ? 0 : 1;
    changed_.notify_all();
    return true;
  }
  bool wait_for(size_t tasks) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::milliseconds(kPatienceMs),
                             [&] { return ids.size() >= tasks; });
  }

  std::set<proto::TaskId> ids;
  uint64_t acknowledged = 0, doubled = 0;

 private:
  uint64_t runs_, given_ = 0;
  std::string payload_;
  std::mutex mutex_;
  std::condition_variable changed_;
};

class ConnectionTest : public testing::Test {
 protected:
  void run_everything(
      uint64_t runs, const std::function<void()>& disturb = [] {}) {
    auto counter = std::make_shared<Counter>(runs);
    {
      Connection connection(broker.endpoint());
      ASSERT_TRUE(connection.wait_until_up(kPatienceMs));
      proto::CreateSession create;
      create.spec.application = "app";
      auto opened = connection.create_session(create, counter, kPatienceMs);
      ASSERT_TRUE(opened) << opened.error().message;
      disturb();
      connection.watch(opened->info.uid, 0);
      connection.wake(opened->info.uid);
      ASSERT_TRUE(counter->wait_for(runs * 10));
    }
    EXPECT_EQ(counter->ids.size(), runs * 10);
    EXPECT_EQ(counter->doubled, 0u);
    EXPECT_EQ(counter->acknowledged, runs * 10);
    EXPECT_EQ(broker.submits, runs);
  }
  test::FakeBroker broker;
};

TEST_F(ConnectionTest, EveryTaskHasOneResult) { run_everything(500); }

TEST_F(ConnectionTest, LostMessagesToTheBrokerAreResent) {
  run_everything(300, [this] { broker.drop_incoming = 3; });
}

TEST_F(ConnectionTest, LostMessagesFromTheBrokerAreAskedForAgain) {
  run_everything(300, [this] { broker.drop_outgoing = 5; });
}

TEST_F(ConnectionTest, ABrokerThatForgotEverybodyIsGreetedAgain) {
  run_everything(300, [this] { broker.forget_links = true; });
}

TEST_F(ConnectionTest, BusyIsWaitedFor) {
  run_everything(300, [this] { broker.busy_submits = 7; });
}

TEST_F(ConnectionTest, NobodyThereIsNoBroker) {
  Connection connection("tcp://127.0.0.1:1");
  auto up = connection.wait_until_up(50);
  ASSERT_FALSE(up);
  EXPECT_EQ(up.error().code, proto::Code::kNoBroker);
  EXPECT_EQ(up.error().message, "No broker at tcp://127.0.0.1:1. Start one: flmctl up");
  auto listing = connection.ask<proto::Listing>(proto::ListKind{0, "session"}, 20);
  ASSERT_FALSE(listing);
  EXPECT_EQ(listing.error().code, proto::Code::kNoBroker);
}

TEST_F(ConnectionTest, RequestsAreAnswered) {
  Connection connection(broker.endpoint());
  auto listing = connection.ask<proto::Listing>(proto::ListKind{0, "executor"}, kPatienceMs);
  ASSERT_TRUE(listing) << listing.error().message;
  EXPECT_EQ(proto::decode_rows(listing->payload.view())->size(), 1u);
  auto info = connection.ask<proto::SessionInfo>(proto::CloseSession{0, "none"}, kPatienceMs);
  ASSERT_FALSE(info);
  EXPECT_EQ(info.error().code, proto::Code::kNotFound);
}

}  // namespace
}  // namespace flame::client

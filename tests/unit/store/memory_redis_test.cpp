// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/store/memory_store.hpp"

namespace flame::broker {
namespace {

// What only the twin can be told; the rest is the contract suite's.
struct MemoryRedisTest : testing::Test {
  MemoryRedis redis{42};
  std::shared_ptr<MemoryRing> ring = std::make_shared<MemoryRing>();
  int64_t now_us = 0;

  std::vector<StoreEvent> at(MemoryStore& store, int64_t us) {
    now_us = us;
    return store.poll({now_us, now_us});
  }
  Recovered start(MemoryStore& store) {
    store.start({now_us, now_us});
    for (auto& event : at(store, now_us + redis.delay_us())) {
      if (auto recovered = std::get_if<Recovered>(&event)) return std::move(*recovered);
    }
    ADD_FAILURE() << "not recovered";
    return {};
  }
  template <class Event>
  static size_t count(const std::vector<StoreEvent>& events) {
    return static_cast<size_t>(std::count_if(events.begin(), events.end(), [](const auto& e) {
      return std::holds_alternative<Event>(e);
    }));
  }
  Batch batch(uint64_t number) {
    return {number, {PutFields{"s", {{"n", std::to_string(number)}}}}};
  }
  std::string stored() { return std::to_string(redis.meta().batch); }
};

TEST_F(MemoryRedisTest, ABatchIsAppliedHalfWayAndAnsweredAtTheEnd) {
  MemoryStore store(redis, ring);
  start(store);
  redis.set_delay(100);
  store.write(batch(1), {now_us, 0});
  EXPECT_EQ(store.next_us(), now_us + 100);
  int64_t sent = now_us;
  EXPECT_THAT(at(store, sent + 49), testing::IsEmpty());
  EXPECT_EQ(stored(), "0");
  EXPECT_THAT(at(store, sent + 50), testing::IsEmpty());
  EXPECT_EQ(stored(), "1");
  EXPECT_EQ(count<BatchStored>(at(store, sent + 100)), 1u);
}

TEST_F(MemoryRedisTest, WhatAKilledBrokerSentStillArrives) {
  {
    MemoryStore store(redis, ring);
    start(store);
    redis.set_delay(100);
    store.write(batch(1), {now_us, 0});
  }
  redis.advance(now_us + 50);
  EXPECT_EQ(stored(), "1");
}

TEST_F(MemoryRedisTest, ButNotAfterTheEpochWasRaised) {
  MemoryStore old(redis, ring);
  start(old);
  redis.set_delay(100);
  old.write(batch(1), {now_us, 0});
  redis.set_delay(0);
  MemoryStore next(redis, std::make_shared<MemoryRing>());
  start(next);
  redis.advance(now_us + 1000);
  EXPECT_EQ(stored(), "0");
}

TEST_F(MemoryRedisTest, ForgottenBatchesAreReplayed) {
  MemoryStore store(redis, ring);
  start(store);
  for (uint64_t n = 1; n <= 5; n++) {
    store.write(batch(n), {now_us, 0});
    EXPECT_EQ(count<BatchStored>(at(store, now_us + 1)), 1u);
  }
  redis.restart(3);
  EXPECT_EQ(stored(), "2");
  auto events = at(store, now_us + 1);
  EXPECT_EQ(count<LineageBroken>(events), 0u);
  EXPECT_EQ(stored(), "5");
}

TEST_F(MemoryRedisTest, ForgottenBatchesWithoutARingBreakTheLineage) {
  MemoryStore store(redis, nullptr);
  start(store);
  for (uint64_t n = 1; n <= 5; n++) {
    store.write(batch(n), {now_us, 0});
    at(store, now_us + 1);
  }
  redis.restart(3);
  EXPECT_EQ(count<LineageBroken>(at(store, now_us + 1)), 1u);
  EXPECT_EQ(stored(), "2");
}

TEST_F(MemoryRedisTest, ABatchOnItsWayIntoAnOutageIsSentAgain) {
  MemoryStore store(redis, ring);
  start(store);
  redis.set_delay(100);
  store.write(batch(1), {now_us, 0});
  redis.set_down(true);
  EXPECT_EQ(count<StoreHealth>(at(store, now_us + 200)), 1u);
  redis.set_down(false);
  size_t confirmed = 0;
  for (int i = 0; i < 10; i++) confirmed += count<BatchStored>(at(store, now_us + 100));
  EXPECT_EQ(confirmed, 1u);
  EXPECT_EQ(stored(), "1");
}

TEST_F(MemoryRedisTest, ARefusedBatchIsTriedUntilItIsNot) {
  MemoryStore store(redis, ring);
  start(store);
  redis.refuse(proto::Error{proto::Code::kStoreRefused, "full"});
  store.write(batch(1), {now_us, 0});
  for (int i = 0; i < 3; i++) EXPECT_EQ(count<BatchStored>(at(store, now_us + 60'000)), 0u);
  redis.refuse(std::nullopt);
  size_t confirmed = 0;
  for (int i = 0; i < 3; i++) confirmed += count<BatchStored>(at(store, now_us + 60'000));
  EXPECT_EQ(confirmed, 1u);
}

TEST_F(MemoryRedisTest, TheSameSeedTellsTheSameStory) {
  auto story = [] {
    MemoryRedis redis(7);
    MemoryStore store(redis, nullptr);
    store.start({0, 0});
    auto events = store.poll({0, 0});
    auto& recovered = std::get<Recovered>(events[0]);
    return recovered.epoch + recovered.lineage + recovered.secret;
  };
  EXPECT_EQ(story(), story());
}

}  // namespace
}  // namespace flame::broker

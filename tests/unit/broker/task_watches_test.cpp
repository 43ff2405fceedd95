// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <gmock/gmock.h>

#include "tests/unit/broker/by_hand.hpp"

namespace flame::broker {
namespace {

using ProgressTest = ByHand;

// Somebody who looks between the result and its batch sees a task that runs: not one that has lost
// what it said.
TEST_F(ProgressTest, WhatATaskSaidStaysUntilItsEndIsStored) {
  executor("a");
  session(1);
  bound("a");
  auto [uid, share] = *core.state().executors.at("a").shares.begin();
  const Hand& hand = share.hands.begin()->second;
  from("a", proto::TaskProgress{uid, {{1, 60, "step 60"}}});
  const auto& progress = core.state().sessions.at(uid)->progress;
  ASSERT_EQ(progress.count(1), 1u);
  core.on(PeerMessage{Port::kExecutors, "a", links["a"].next(), results_of(uid, hand)}, now);
  auto batch = core.close_batch(now);
  ASSERT_TRUE(batch.has_value());
  EXPECT_EQ(progress.count(1), 1u) << "in flight: Redis still says that it runs";
  core.on(StoreEvent(BatchStored{batch->number}), now);
  EXPECT_EQ(progress.count(1), 0u);
  turn();
}

// Between its result and the batch it is in nobody's hands: what its watcher knows is not told
// anew.
TEST_F(ProgressTest, WhatIsKnownOfATaskIsNotToldAgainWhileItsResultIsStored) {
  executor("a");
  session(1);
  bound("a");
  auto [uid, share] = *core.state().executors.at("a").shares.begin();
  auto results = results_of(uid, share.hands.begin()->second);
  from("a", proto::TaskProgress{uid, {{1, 60, "step 60"}}});
  core.on(PeerMessage{Port::kExecutors, "a", links["a"].next(), std::move(results)}, now);
  auto batch = core.close_batch(now);
  ASSERT_TRUE(batch.has_value());
  core.take_actions();
  core.on(PeerMessage{Port::kClients, "c", client.next(),
                      proto::WatchTask{++request, "s", 1, "R.1.1", false}},
          now);
  auto ask = [&] {
    for (auto& action : core.take_actions()) {
      auto read = std::get_if<StoreRead>(&action);
      if (read != nullptr) return std::get<ReadStates>(*read).tag;
    }
    return uint64_t{0};
  };
  auto tag = ask();
  ASSERT_NE(tag, 0u);
  core.on(StoreEvent(StatesRead{tag, "R", {}}), now);
  EXPECT_TRUE(core.take_actions().empty()) << "nothing is said";
  core.on(StoreEvent(BatchStored{batch->number}), now);
  tag = ask();
  ASSERT_NE(tag, 0u) << "it is looked at again";
  core.on(StoreEvent(StatesRead{tag, "S", {}}), now);
  auto next = core.take_actions();
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(std::get<FindOutputs>(std::get<StoreRead>(next.front())).tasks,
            (std::vector<proto::Run>{{1, 1}}));
}

TEST_F(ProgressTest, OfTooManyWatchesOfATaskTheOldestGoes) {
  session(2);
  auto watch = [&](proto::TaskId task) {
    say(proto::WatchTask{++request, "s", task, "P.0.0", false});
    return answer;
  };
  EXPECT_EQ(watch(2), "");
  for (uint64_t i = 0; i < proto::kTaskWatchesEachMax; i++) EXPECT_EQ(watch(1), "") << i;
  EXPECT_THAT(watch(1), testing::HasSubstr("8 later requests of this client watch the task"));
  EXPECT_EQ(core.state().task_watches, proto::kTaskWatchesEachMax + 1);
  uint64_t first = UINT64_MAX;
  for (const auto& [key, each] : core.state().sessions.begin()->second->task_watches)
    if (key.first == 1) first = std::min(first, each.request);
  EXPECT_EQ(first, request - proto::kTaskWatchesEachMax + 1);
}

}  // namespace
}  // namespace flame::broker

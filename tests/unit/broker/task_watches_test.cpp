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

}  // namespace
}  // namespace flame::broker

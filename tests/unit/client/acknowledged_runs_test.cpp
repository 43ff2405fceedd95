// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/cpp/src/core/acknowledged_runs.hpp"

#include <gmock/gmock.h>

namespace flame::client {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

TEST(AcknowledgedRuns, WhatTouchesIsOne) {
  AcknowledgedRuns runs;
  for (proto::TaskId first : {1, 11, 41, 31, 61, 21}) {
    runs.add({first, 10});
  }
  EXPECT_EQ(runs.size(), 2u);
  EXPECT_THAT(runs.take(), ElementsAre(Pair(1, 50), Pair(61, 10)));
  EXPECT_THAT(runs.take(), ElementsAre());
}

TEST(AcknowledgedRuns, OfThoseThatNeverTouchTheNewestAreKept) {
  AcknowledgedRuns runs;
  for (proto::TaskId i = 0; i <= AcknowledgedRuns::kMost; i++) {
    runs.add({1 + 2 * i, 1});
  }
  EXPECT_EQ(runs.size(), AcknowledgedRuns::kMost);
  EXPECT_THAT(*runs.take().begin(), Pair(3, 1));
}

}  // namespace
}  // namespace flame::client

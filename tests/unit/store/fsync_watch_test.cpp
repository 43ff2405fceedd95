// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/store/fsync_watch.hpp"

#include <gtest/gtest.h>

namespace flame::broker {
namespace {

constexpr int64_t ms = 1000;

TEST(FsyncWatch, TwoQuietLooksFarEnoughApartProveTheFirst) {
  FsyncWatch watch;
  EXPECT_EQ(watch.on_look(0, 1 * ms, 10, {}), 0u);
  EXPECT_EQ(watch.on_look(600 * ms, 601 * ms, 20, {}), 0u);
  EXPECT_EQ(watch.on_look(1201 * ms, 1202 * ms, 30, {}), 10u);
  EXPECT_EQ(watch.on_look(1801 * ms, 1802 * ms, 40, {}), 20u);
}

TEST(FsyncWatch, ALookDuringAnFsyncProvesNothingAndSpoilsNothing) {
  FsyncWatch watch;
  watch.on_look(0, 0, 10, {});
  EXPECT_EQ(watch.on_look(1300 * ms, 1300 * ms, 20, {.pending = true}), 0u);
  EXPECT_EQ(watch.on_look(1400 * ms, 1400 * ms, 30, {}), 10u);
}

TEST(FsyncWatch, ADelayedFsyncBeginsAnew) {
  FsyncWatch watch;
  watch.on_look(0, 0, 10, {});
  EXPECT_EQ(watch.on_look(1300 * ms, 1300 * ms, 20, {.delayed = 1}), 0u);
  EXPECT_EQ(watch.on_look(2500 * ms, 2500 * ms, 30, {.delayed = 1}), 20u);
}

TEST(FsyncWatch, AWriteThatFailedBeginsAnewWhenItIsMended) {
  FsyncWatch watch;
  watch.on_look(0, 0, 10, {});
  EXPECT_EQ(watch.on_look(1300 * ms, 1300 * ms, 20, {.failed = true}), 0u);
  EXPECT_EQ(watch.on_look(2600 * ms, 2600 * ms, 20, {.failed = true}), 0u);
  EXPECT_EQ(watch.on_look(2700 * ms, 2700 * ms, 20, {}), 0u);  // mended: its fsync is to come
  EXPECT_EQ(watch.on_look(3900 * ms, 3900 * ms, 30, {}), 20u);
}

TEST(FsyncWatch, AnotherRedisBeginsAnew) {
  FsyncWatch watch;
  watch.on_look(0, 0, 10, {});
  watch.reset();
  EXPECT_EQ(watch.on_look(1300 * ms, 1300 * ms, 10, {}), 0u);
}

TEST(FsyncWatch, ASlowAnswerCountsFromItsEnd) {
  FsyncWatch watch;
  watch.on_look(0, 1000 * ms, 10, {});
  EXPECT_EQ(watch.on_look(1300 * ms, 1300 * ms, 20, {}), 0u);
  EXPECT_EQ(watch.on_look(2200 * ms, 2200 * ms, 30, {}), 10u);
}

}  // namespace
}  // namespace flame::broker

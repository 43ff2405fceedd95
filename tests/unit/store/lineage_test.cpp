// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/store/lineage.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/keys.hpp"

namespace flame::broker {
namespace {

using testing::HasSubstr;

Meta stored(uint64_t batch, Epoch epoch = {3, 0xabc}) {
  Meta meta;
  meta.exists = true;
  meta.schema = std::to_string(proto::kSchemaVersion);
  meta.cluster = "flame";
  meta.epoch = epoch;
  meta.batch = batch;
  meta.lineage = "line";
  meta.run_id = "run";
  meta.fsync = "everysec";
  return meta;
}
RingState ring(uint64_t first, uint64_t last, Epoch epoch = {3, 0xabc}) {
  return {true, epoch, "line", first, last};
}
const RedisSeen kSameRedis{"run", 1'000'000};
const RedisSeen kOtherRedis{"other", 3'600'000'000};

Decision start(const Meta& meta, const RingState& ring, const RedisSeen& seen = kOtherRedis) {
  return decide_start(meta, ring, seen, "flame", 10'000'000, "/ring");
}

TEST(Epoch, IsWrittenAndReadAsAWhole) {
  EXPECT_EQ((Epoch{12, 0xff}).text(), "12-ff");
  EXPECT_EQ(Epoch::parse("12-ff"), (Epoch{12, 0xff}));
  for (auto bad : {"", "12", "-", "12-", "x-ff", "12-xyz", "12-ff "})
    EXPECT_FALSE(Epoch::parse(bad)) << bad;
}

TEST(Meta, SurvivesTheWayThroughRedis) {
  Meta meta = stored(5);
  meta.secret = "00ff10";
  meta.clean = true;
  auto fields = meta.fields();
  fields.emplace_back("batch", "5");
  auto back = Meta::from(fields);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->fields(), meta.fields());
  EXPECT_EQ(back->batch, 5u);
  EXPECT_EQ(back->secret_bytes(), std::string("\x00\xff\x10", 3));
}

TEST(Meta, EditedByHandIsAnError) {
  auto fields = stored(5).fields();
  fields.emplace_back("batch", "five");
  EXPECT_FALSE(Meta::from(fields));
}

TEST(Start, AnEmptyRedisIsFresh) { EXPECT_EQ(start({}, {}).finding, Finding::kFresh); }

TEST(Start, AnEmptyRedisUnderARingWithBatchesIsALoss) {
  auto decision = start({}, ring(1, 9));
  EXPECT_EQ(decision.finding, Finding::kBroken);
  EXPECT_THAT(decision.reason, HasSubstr("batch 9"));
}

TEST(Start, AnotherSchemaOrClusterIsRefused) {
  Meta meta = stored(1);
  meta.schema = "2";
  EXPECT_EQ(start(meta, {}).finding, Finding::kRefuse);
  meta = stored(1);
  meta.cluster = "other";
  EXPECT_EQ(start(meta, {}).error.code, proto::Code::kCluster);
}

TEST(Start, TheRingClosesTheGap) {
  for (uint64_t batch : {4, 6, 9}) {
    auto decision = start(stored(batch), ring(5, 9));
    EXPECT_EQ(decision.finding, Finding::kWhole);
    EXPECT_EQ(decision.replay_from, batch + 1);
  }
}

TEST(Start, ARingWhoseEpochIsNotOlderCounts) {
  EXPECT_EQ(start(stored(6), ring(5, 9, {4, 1})).finding, Finding::kWhole);
  EXPECT_EQ(start(stored(6), ring(5, 9, {2, 1})).finding, Finding::kBroken);
  EXPECT_EQ(start(stored(6), ring(5, 9, {3, 1})).finding,
            Finding::kBroken);  // another one drew the same number
}

TEST(Start, AGapBeforeTheRingIsNamed) {
  auto decision = start(stored(2), ring(5, 9));
  EXPECT_EQ(decision.finding, Finding::kBroken);
  EXPECT_THAT(decision.reason, HasSubstr("batches 3 to 4"));
}

TEST(Start, WithoutARingEachProofIsEnough) {
  EXPECT_EQ(start(stored(5), {}, kSameRedis).finding, Finding::kWhole);
  Meta clean = stored(5);
  clean.clean = true;
  EXPECT_EQ(start(clean, {}).finding, Finding::kWhole);
  Meta always = stored(5);
  always.fsync = "always";
  EXPECT_EQ(start(always, {}).finding, Finding::kWhole);
}

TEST(Start, WithoutAnyProofItIsBroken) {
  auto decision = start(stored(5), {});
  EXPECT_EQ(decision.finding, Finding::kBroken);
  EXPECT_THAT(decision.reason, HasSubstr("after batch 5"));
}

TEST(Start, AfterARestartOfRedisTheOwnerComesFirst) {
  auto decision = start(stored(5), {}, {"other", 4'000'000});
  EXPECT_EQ(decision.finding, Finding::kWait);
  EXPECT_EQ(decision.wait_us, 6'000'000);
}

TEST(Start, ABrokenLineageStaysSo) {
  Meta meta = stored(5);
  meta.lost = "yesterday";
  EXPECT_EQ(start(meta, ring(1, 5), kSameRedis).reason, "yesterday");
}

Decision again(const Meta& meta, const RingState& ring, uint64_t confirmed = 8,
               uint64_t in_flight = 9) {
  return decide_again(meta, ring, {{3, 0xabc}, "line", confirmed, in_flight, ""});
}

TEST(Again, NothingOrOnlyTheAnswerIsMissing) {
  EXPECT_EQ(again(stored(8), ring(5, 9)).finding, Finding::kWhole);
  EXPECT_EQ(again(stored(9), ring(5, 9)).finding, Finding::kWhole);
  EXPECT_EQ(again(stored(9), {}).finding, Finding::kWhole);
}

TEST(Again, WhatRedisForgotIsReplayed) {
  auto decision = again(stored(6), ring(5, 9));
  EXPECT_EQ(decision.finding, Finding::kWhole);
  EXPECT_EQ(decision.replay_from, 7u);
}

TEST(Again, ASmallerEpochMeansItForgotOurs) {
  EXPECT_EQ(again(stored(6, {2, 5}), ring(5, 9)).finding, Finding::kWhole);
  EXPECT_EQ(again({}, ring(1, 9)).finding, Finding::kWhole);
  EXPECT_EQ(again({}, ring(5, 9)).finding, Finding::kBroken);
}

TEST(Again, AnyOtherEpochMeansReplaced) {
  EXPECT_EQ(again(stored(8, {4, 1}), ring(5, 9)).finding, Finding::kFenced);
  EXPECT_EQ(again(stored(8, {3, 1}), ring(5, 9)).finding, Finding::kFenced);
}

TEST(Again, WhoReplacedUsIsNamed) {
  Meta meta = stored(8, {4, 1});
  meta.owner = "127.0.0.1:7800, pid 7 on there";
  EXPECT_THAT(again(meta, ring(5, 9)).reason,
              HasSubstr("another broker (127.0.0.1:7800, pid 7 on there) took this Redis over"));
  meta.owner = std::string(5000, 'x') + "\n";
  EXPECT_LT(again(meta, ring(5, 9)).reason.size(), 500u);
  meta.owner.clear();
  EXPECT_THAT(again(meta, ring(5, 9)).reason, HasSubstr("another broker took this Redis over"));
}

TEST(Again, ABatchThatWeNeverSentIsSomebodyElses) {
  EXPECT_EQ(again(stored(10), ring(5, 9)).finding, Finding::kFenced);
  EXPECT_EQ(again(stored(9), ring(5, 8), 8, 0).finding, Finding::kFenced);
}

TEST(Again, ARedisThatForgotThatItsLineageIsBrokenDoesNotMendIt) {
  Owned owned{{3, 0xabc}, "line", 8, 0, "yesterday"};
  EXPECT_EQ(decide_again(stored(8, {2, 5}), ring(1, 8), owned).reason, "yesterday");
}

TEST(Again, WithoutTheRingALossIsNamed) {
  auto decision = again(stored(6), {});
  EXPECT_EQ(decision.finding, Finding::kBroken);
  EXPECT_THAT(decision.reason, HasSubstr("batches 7 to 8"));
}

}  // namespace
}  // namespace flame::broker

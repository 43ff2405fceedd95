// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/journal.hpp"

#include <gmock/gmock.h>

#include "tests/unit/autoscaler/times.hpp"

namespace flame::autoscaler {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class JournalTest : public ::testing::Test {
 protected:
  auto note(Reason reason, uint64_t add = 0) {
    return journal_.note({{.application = "app", .reason = reason, .add = add}}, now_);
  }
  std::string written() { return journal_.request(now_).bytes(); }
  static size_t entries_in(const std::string& bytes) {
    size_t count = 0;
    for (size_t at = 0; (at = bytes.find("XADD", at)) != bytes.npos; at++) count++;
    return count;
  }

  Journal journal_{false};
  proto::Now now_{1000 * kS, 0};
};

TEST_F(JournalTest, AReasonIsNewsOnceAndAnActEachTime) {
  EXPECT_THAT(note(Reason::kSteady), SizeIs(1));
  EXPECT_THAT(note(Reason::kSteady), IsEmpty());
  EXPECT_THAT(note(Reason::kGrow, 1), SizeIs(1));
  EXPECT_THAT(note(Reason::kGrow, 1), SizeIs(1));
  EXPECT_THAT(note(Reason::kFrozen), SizeIs(1));
}

TEST_F(JournalTest, EntriesWaitUntilRedisHasThem) {
  note(Reason::kFrozen);
  EXPECT_EQ(entries_in(written()), 1u);
  note(Reason::kGrow, 2);
  EXPECT_EQ(entries_in(written()), 2u) << "the first was not confirmed";
  journal_.kept();
  EXPECT_EQ(entries_in(written()), 0u);
}

TEST_F(JournalTest, TheRowsAreWrittenWhenTheyChangeAndEveryFiveSeconds) {
  note(Reason::kSteady);
  EXPECT_THAT(written(), HasSubstr("flame:scale"));
  journal_.kept();
  now_.mono_us += 4 * kS;
  EXPECT_EQ(written(), "");
  now_.mono_us += kS;
  EXPECT_THAT(written(), HasSubstr("flame:scale"));
}

TEST_F(JournalTest, HowLongAStartTakesIsInTheRow) {
  journal_.note({{.application = "app", .cold_start_us = 4 * kS}}, now_);
  std::string bytes = written();
  EXPECT_THAT(bytes.substr(bytes.find("HSET")), HasSubstr("cold_start_us"));
}

TEST_F(JournalTest, AnApplicationThatIsGoneLeavesNoRow) {
  note(Reason::kSteady);
  EXPECT_THAT(written(), HasSubstr("HSET"));
  journal_.kept();
  journal_.note({}, now_);
  std::string bytes = written();
  EXPECT_THAT(bytes, HasSubstr("DEL"));
  EXPECT_THAT(bytes, Not(HasSubstr("HSET")));
}

TEST_F(JournalTest, WhatWaitsForRedisIsBounded) {
  for (int i = 0; i < 1000; i++) note(Reason::kGrow, 1);
  EXPECT_EQ(entries_in(written()), 256u);
}

TEST_F(JournalTest, ADryRunSaysSo) {
  journal_ = Journal(true);
  note(Reason::kGrow, 1);
  EXPECT_THAT(written(), HasSubstr("(dry run) "));
}

TEST_F(JournalTest, ADryRunRepeatsNothing) {
  journal_ = Journal(true);
  EXPECT_THAT(note(Reason::kGrow, 1), SizeIs(1));
  EXPECT_THAT(note(Reason::kGrow, 1), IsEmpty());
  EXPECT_THAT(note(Reason::kGrow, 2), SizeIs(1));
  EXPECT_THAT(note(Reason::kShrink), SizeIs(1));
  EXPECT_THAT(note(Reason::kCooling), IsEmpty()) << "nothing was let go";
  EXPECT_THAT(note(Reason::kShrink), IsEmpty());
  EXPECT_THAT(note(Reason::kSteady), SizeIs(1));
}

}  // namespace
}  // namespace flame::autoscaler

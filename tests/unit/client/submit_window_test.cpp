// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/cpp/src/core/submit_window.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace flame::client {
namespace {

using proto::Code;
using Numbers = std::vector<uint64_t>;

constexpr proto::Now at_ms(int64_t ms) { return {1'000'000 + ms * 1000, 0}; }

class SubmitWindowTest : public testing::Test {
 protected:
  void add(Ticket ticket) { window.add(SubmitRun{7, ticket, 10, 0, proto::Bytes::copy("x")}); }
  Numbers sent(int64_t ms) {
    Numbers numbers;
    for (const auto& submit : window.due(at_ms(ms))) numbers.push_back(submit.number);
    return numbers;
  }
  SubmitWindow::Refused refuse(uint64_t number, Code code, int64_t ms, uint32_t retry_ms = 0) {
    return window.refuse({0, code, "", retry_ms, 7, number}, at_ms(ms));
  }
  SubmitWindow window;
};

TEST_F(SubmitWindowTest, NumbersFromOneAndSendsEachOnce) {
  add(101), add(102);
  EXPECT_EQ(sent(0), (Numbers{1, 2}));
  EXPECT_EQ(sent(0), Numbers{});
  EXPECT_EQ(window.acknowledge({1, {1, 10}}), 101u);
  EXPECT_EQ(window.acknowledge({1, {1, 10}}), std::nullopt);  // a repeated answer
  EXPECT_EQ(window.acknowledge({2, {11, 10}}), 102u);
  EXPECT_TRUE(window.empty());
  EXPECT_EQ(window.deadline(), kNever);
}

TEST_F(SubmitWindowTest, ContinuesBehindWhatTheBrokerHas) {
  window = SubmitWindow(41);
  add(1);
  EXPECT_EQ(sent(0), Numbers{42});
}

TEST_F(SubmitWindowTest, IsFullAtTheLimit) {
  for (uint64_t i = 0; i < proto::kSubmitsUnackedMax; i++) {
    ASSERT_TRUE(window.has_room());
    add(i + 1);
  }
  EXPECT_FALSE(window.has_room());
  sent(0);
  window.acknowledge({1, {1, 10}});
  EXPECT_TRUE(window.has_room());
}

TEST_F(SubmitWindowTest, BusyHoldsEverythingAndThenResendsInOrder) {
  add(1), add(2), add(3);
  sent(0);
  EXPECT_EQ(refuse(1, Code::kBusy, 1, 20).kind, SubmitWindow::Refusal::kRetry);
  EXPECT_EQ(refuse(1, Code::kGap, 1).kind, SubmitWindow::Refusal::kRetry);  // for 2
  EXPECT_EQ(refuse(1, Code::kGap, 1).kind, SubmitWindow::Refusal::kRetry);  // for 3
  add(4);
  EXPECT_EQ(sent(20), Numbers{});
  EXPECT_EQ(window.deadline(), at_ms(21).mono_us);
  EXPECT_EQ(sent(21), (Numbers{1, 2, 3, 4}));
}

TEST_F(SubmitWindowTest, LateRefusalsOfTheFirstSendingDoNotCauseAThird) {
  add(1), add(2), add(3);
  sent(0);
  refuse(1, Code::kBusy, 0, 1);
  refuse(1, Code::kGap, 0);             // for 2
  EXPECT_EQ(sent(1), (Numbers{1, 2}));  // 3 is still on its first way
  refuse(1, Code::kGap, 2);             // for the first 3
  EXPECT_EQ(sent(3), (Numbers{3}));
  for (uint64_t n = 1; n <= 3; n++) EXPECT_TRUE(window.acknowledge({n, {n * 10 - 9, 10}}));
  EXPECT_TRUE(window.empty());
}

TEST_F(SubmitWindowTest, FinalRefusalFailsOnlyItsTicket) {
  add(1), add(2);
  sent(0);
  auto refused = refuse(1, Code::kTooLarge, 0);
  EXPECT_EQ(refused.kind, SubmitWindow::Refusal::kFinal);
  EXPECT_EQ(refused.ticket, 1u);
  EXPECT_EQ(window.acknowledge({2, {1, 10}}), 2u);
  EXPECT_EQ(window.resume(2), std::vector<proto::Run>{});
}

TEST_F(SubmitWindowTest, BrokenLinkResendsTheSameNumbers) {
  add(1), add(2);
  sent(0);
  window.link_lost();
  EXPECT_EQ(window.resume(1), std::vector<proto::Run>{});  // 1 arrived, its answer did not
  EXPECT_EQ(sent(5), (Numbers{1, 2}));
}

TEST_F(SubmitWindowTest, LostAcknowledgedRunsAreNamedAndTheRestIsNumberedAnew) {
  add(1), add(2), add(3), add(4);
  sent(0);
  window.acknowledge({1, {1, 10}});
  window.acknowledge({2, {11, 10}});
  window.acknowledge({3, {21, 10}});
  window.link_lost();
  EXPECT_EQ(window.resume(1), (std::vector<proto::Run>{{11, 10}, {21, 10}}));
  EXPECT_EQ(sent(1), (Numbers{2}));
  EXPECT_EQ(window.acknowledge({2, {11, 10}}), 4u);
  EXPECT_EQ(window.resume(2), std::vector<proto::Run>{});  // told once
}

TEST_F(SubmitWindowTest, AMissingOneThatIsNotHeldMeansAsking) {
  add(1), add(2);
  sent(0);
  window.acknowledge({1, {1, 10}});
  EXPECT_EQ(refuse(1, Code::kGap, 0).kind, SubmitWindow::Refusal::kUnknown);
}

TEST_F(SubmitWindowTest, AnswersToNothingAreIgnored) {
  EXPECT_EQ(refuse(9, Code::kBusy, 0).kind, SubmitWindow::Refusal::kIgnored);
  EXPECT_EQ(refuse(9, Code::kGap, 0).kind, SubmitWindow::Refusal::kIgnored);
  EXPECT_EQ(window.acknowledge({9, {1, 1}}), std::nullopt);
  EXPECT_EQ(sent(1000), Numbers{});
}

}  // namespace
}  // namespace flame::client

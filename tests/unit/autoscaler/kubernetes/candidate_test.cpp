// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/kubernetes/candidate.hpp"

#include <gmock/gmock.h>

#include "autoscaler/kubernetes/text.hpp"

namespace flame::autoscaler::kubernetes {
namespace {

using Step = Candidate::Step;
constexpr int64_t kS = proto::kUsPerSecond;

LeaseSeen lease(const std::string& holder, const std::string& version) {
  return {.version = version, .holder = holder, .ours = true};
}

TEST(Candidate, WaitsAsLongAsTheOtherOneRenews) {
  Candidate candidate("me");
  int64_t now = 1000 * kS;
  for (int i = 0; i < 20; i++, now += 14 * kS) {
    EXPECT_EQ(candidate.look(lease("other", std::to_string(i)), now), Step::kWait);
  }
  now -= 14 * kS;
  EXPECT_EQ(candidate.look(lease("other", "19"), now + 15 * kS - 1), Step::kWait);
  EXPECT_EQ(candidate.look(lease("other", "19"), now + 15 * kS), Step::kTake);
}

TEST(Candidate, CountsFromWhenItSawItNotFromWhatTheLeaseSays) {
  Candidate candidate("me");
  // However old it may be: somebody may have renewed it just now, by another clock.
  EXPECT_EQ(candidate.look(lease("other", "1"), 1'000'000 * kS), Step::kWait);
  EXPECT_EQ(candidate.look(lease("", "2"), 1'000'001 * kS), Step::kTake) << "it was given back";
  auto shorter = lease("other", "3");
  shorter.duration_s = 2;
  EXPECT_EQ(candidate.look(shorter, 1'000'002 * kS), Step::kWait);
  EXPECT_EQ(candidate.look(shorter, 1'000'004 * kS), Step::kTake);
}

TEST(Candidate, LeadsUntilItsLastRenewalIsTooOld) {
  Candidate candidate("me");
  EXPECT_FALSE(candidate.leads(0));
  EXPECT_EQ(candidate.look(lease("me", "1"), 5 * kS), Step::kRenew) << "after a restart, perhaps";
  EXPECT_FALSE(candidate.leads(5 * kS)) << "only a write of ours shows it";
  candidate.confirmed(6 * kS);
  EXPECT_TRUE(candidate.leads(16 * kS - 1));
  EXPECT_FALSE(candidate.leads(16 * kS));
  // It ends well before another one takes it.
  static_assert(kRenewDeadlineUs + 2 * kRenewEveryUs < kLeaseSeconds * kS);
  candidate.confirmed(16 * kS);
  candidate.lost();
  EXPECT_FALSE(candidate.leads(16 * kS));
}

TEST(Lease, CreatedRenewedTakenAndGivenBack) {
  auto spec = [](const std::string& identity, const LeaseSeen* before) {
    auto body = lease_body("l", "jobs", "flame", identity, before, 1767323045000012);
    EXPECT_EQ(text_in(body, {"metadata", "resourceVersion"}), before ? before->version : "");
    return *body.find("spec");
  };
  std::string now = "2026-01-02T03:04:05.000012Z";
  auto made = spec("me", nullptr);
  EXPECT_EQ(made, (proto::Map{{"holderIdentity", "me"},
                              {"leaseDurationSeconds", 15},
                              {"renewTime", now},
                              {"leaseTransitions", 0},
                              {"acquireTime", now}}));
  auto mine = lease("me", "7"), other = lease("other", "7");
  mine.transitions = other.transitions = 4;
  EXPECT_EQ(number_in(spec("me", &mine), {"leaseTransitions"}), 4);
  EXPECT_EQ(number_in(spec("me", &other), {"leaseTransitions"}), 5);
  EXPECT_EQ(number_in(spec("", &mine), {"leaseDurationSeconds"}), 1);
  EXPECT_EQ(text_in(spec("", &mine), {"holderIdentity"}), "");
}

TEST(Lease, IsOursByItsLabels) {
  auto body = lease_body("l", "jobs", "flame", "me", nullptr, 0);
  EXPECT_TRUE(LeaseSeen::from(body, "flame").ours);
  EXPECT_FALSE(LeaseSeen::from(body, "second").ours);
  EXPECT_EQ(LeaseSeen::from(body, "flame").holder, "me");
  EXPECT_FALSE(LeaseSeen::from(proto::Value(), "flame").ours);
}

}  // namespace
}  // namespace flame::autoscaler::kubernetes

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/settings.hpp"

#include <gmock/gmock.h>

#include "tests/unit/autoscaler/times.hpp"

namespace flame::autoscaler {
namespace {

using ::testing::HasSubstr;

proto::Result<Policy> policy_of(std::vector<const char*> words) {
  words.insert(words.begin(), "flame-autoscaler");
  auto options =
      runtime::Options::parse(option_rows(), static_cast<int>(words.size()), words.data());
  if (!options) return options.error();
  return policy_from(*options);
}

TEST(Settings, TheTablesDefaultsAreThoseOfThePolicy) {
  auto policy = policy_of({});
  ASSERT_TRUE(policy) << policy.error().message;
  Policy defaults;
  EXPECT_EQ(policy->target_drain_us, defaults.target_drain_us);
  EXPECT_EQ(policy->prior_run_us, defaults.prior_run_us);
  EXPECT_EQ(policy->idle_after_us, defaults.idle_after_us);
  EXPECT_EQ(policy->stabilization_us, defaults.stabilization_us);
  EXPECT_EQ(policy->down_cooldown_us, defaults.down_cooldown_us);
  EXPECT_EQ(policy->start_deadline_us, defaults.start_deadline_us);
  EXPECT_EQ(policy->step_up_max, UINT64_MAX);
  EXPECT_EQ(policy->step_down_max, UINT64_MAX);
  EXPECT_EQ(policy->tolerance, defaults.tolerance);
  EXPECT_EQ(policy->spares, 0u);
  EXPECT_EQ(policy->cluster_max, 16u);
}

TEST(Settings, PodsTakeLongerThanProcesses) {
  auto policy = policy_of({"--provider", "kubernetes"});
  ASSERT_TRUE(policy) << policy.error().message;
  EXPECT_EQ(policy->idle_after_us, 60 * proto::kUsPerSecond);
  EXPECT_EQ(policy->stabilization_us, 120 * proto::kUsPerSecond);
  EXPECT_EQ(policy->start_deadline_us, 180 * proto::kUsPerSecond);
  auto said = policy_of({"--provider", "kubernetes", "--idle-after", "7s"});
  EXPECT_EQ(said->idle_after_us, 7 * proto::kUsPerSecond);
  EXPECT_THAT(policy_of({"--provider", "docker"}).error().message,
              HasSubstr("local or kubernetes, not 'docker'"));
}

TEST(Settings, LimitsAreForTheirApplications) {
  auto policy = policy_of({"--limits", "app=1:8,other=0:2", "--idle-after", "0"});
  ASSERT_TRUE(policy) << policy.error().message;
  EXPECT_EQ(policy->bounds("app"), (Bounds{1, 8}));
  EXPECT_EQ(policy->bounds("other"), (Bounds{0, 2}));
  EXPECT_EQ(policy->bounds("third"), Bounds{});
  EXPECT_EQ(policy->idle_after_us, 0);
}

TEST(Settings, TheClusterHasAMinimumToo) {
  auto policy = policy_of({"--min-executors", "3", "--max-executors", "3"});
  ASSERT_TRUE(policy) << policy.error().message;
  EXPECT_EQ(policy->cluster_min, 3u);
  EXPECT_EQ(policy_of({})->cluster_min, 0u);
}

TEST(Settings, NonsenseIsRefusedWithTheRightWord) {
  struct Row {
    std::vector<const char*> words;
    const char* named;
  };
  for (const auto& row :
       {Row{{"--limits", "app"}, "APPLICATION=MIN:MAX"}, Row{{"--limits", "app=5:2"}, "'app=5:2'"},
        Row{{"--limits", "app=1:x"}, "'app=1:x'"}, Row{{"--limits", "=1:2"}, "application"},
        Row{{"--limits", "a:b=1"}, "MIN:MAX"}, Row{{"--slots", "0"}, "--slots"},
        Row{{"--target-drain", "0"}, "--target-drain"}, Row{{"--tolerance", "101"}, "--tolerance"},
        Row{{"--min-executors", "17"}, "--min-executors 17 is above --max-executors 16"},
        Row{{"--prior-run", "soon"}, "prior-run"}, Row{{"--max-executor", "1"}, "max-executors"},
        Row{{"--redis-url", "redis://:secret@h:1/0"}, "FLAME_REDIS_URL"}}) {
    auto policy = policy_of(row.words);
    ASSERT_FALSE(policy) << row.named;
    EXPECT_THAT(policy.error().message, HasSubstr(row.named));
  }
}

}  // namespace
}  // namespace flame::autoscaler

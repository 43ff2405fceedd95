// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/stored_rows.hpp"

#include <gmock/gmock.h>

#include "proto/codec.hpp"

namespace flame::autoscaler {
namespace {

using proto::Map;
using runtime::RedisReply;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

RedisReply hash(const std::vector<std::pair<std::string, std::string>>& fields) {
  RedisReply reply{.kind = RedisReply::Kind::kArray};
  for (const auto& [name, value] : fields) {
    reply.items.push_back({.kind = RedisReply::Kind::kText, .text = name});
    reply.items.push_back({.kind = RedisReply::Kind::kText, .text = value});
  }
  return reply;
}

TEST(StoredRows, HowLongStartsTookIsReadWhereARowSaysIt) {
  auto reply = hash({{"app", proto::encode_value(Map{{"cold_start_us", 4'000'000}})},
                     {"new", proto::encode_value(Map{{"cold_start_us", 0}})},
                     {"old", proto::encode_value(Map{{"wanted", 1}})},
                     {"other", proto::encode_value(Map{{"cold_start_us", "4 s"}})},
                     {"huge", proto::encode_value(Map{{"cold_start_us", INT64_MAX}})},
                     {"torn", "\xc1"}});
  EXPECT_THAT(cold_starts_from(reply), ElementsAre(Pair("app", 4'000'000)));
  EXPECT_THAT(cold_starts_from({.kind = RedisReply::Kind::kError, .text = "WRONGTYPE"}), IsEmpty());
}

TEST(StoredRows, TheScaleIsReadOnceAndTheRestTogether) {
  EXPECT_THAT(read_request(false, true).bytes(), HasSubstr("flame:scale"));
  EXPECT_EQ(read_request(false, false).commands() + 1, read_request(false, true).commands());
  EXPECT_EQ(read_request(true, false).commands(), 7u);
}

runtime::RedisReplies figures_of(const std::string& cluster) {
  RedisReply all = hash({});
  all.items = {hash({}), hash({}), {.kind = RedisReply::Kind::kInteger, .integer = 3000}};
  all.items.push_back(cluster.empty()
                          ? RedisReply()
                          : RedisReply{.kind = RedisReply::Kind::kText, .text = cluster});
  return {all};
}

TEST(StoredRows, WhatAnotherClusterWroteIsRefusedWithBothNames) {
  for (const auto* wanted : {"", "blue"}) {
    EXPECT_TRUE(stored_from(figures_of("blue"), wanted)) << wanted;
    EXPECT_TRUE(stored_from(figures_of(""), wanted)) << "no broker has been there yet";
  }
  auto refused = stored_from(figures_of("green"), "blue");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, proto::Code::kCluster);
  EXPECT_THAT(refused.error().message, HasSubstr("cluster 'green', not to 'blue'"));
}

}  // namespace
}  // namespace flame::autoscaler

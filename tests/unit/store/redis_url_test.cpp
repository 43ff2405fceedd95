// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <gtest/gtest.h>

#include "runtime/redis_connection.hpp"

namespace flame::runtime {
namespace {

TEST(RedisUrl, TcpWithAllParts) {
  auto address = parse_redis_url("redis://bob:s%40crt@db.example:7000/3");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->host, "db.example");
  EXPECT_EQ(address->port, 7000);
  EXPECT_EQ(address->user, "bob");
  EXPECT_EQ(address->password, "s@crt");
  EXPECT_EQ(address->database, 3u);
  EXPECT_EQ(address->shown(), "redis://db.example:7000/3");
}

TEST(RedisUrl, ShortForms) {
  EXPECT_EQ(parse_redis_url("redis://h")->shown(), "redis://h:6379");
  EXPECT_EQ(parse_redis_url("redis://h/")->shown(), "redis://h:6379");
  EXPECT_EQ(parse_redis_url("redis://:pw@h:1")->password, "pw");
  EXPECT_EQ(parse_redis_url("redis://pw@h:1")->password, "pw");
  EXPECT_EQ(parse_redis_url("redis://[::1]:6380")->host, "::1");
  EXPECT_EQ(parse_redis_url("redis://[::1]:6380")->port, 6380);
}

TEST(RedisUrl, UnixSocket) {
  EXPECT_EQ(parse_redis_url("unix:///run/redis.sock")->path, "/run/redis.sock");
  EXPECT_EQ(parse_redis_url("unix:///run/redis.sock?db=2")->shown(), "unix:///run/redis.sock?db=2");
}

TEST(RedisUrl, BadOnesAreRefusedWithoutThePassword) {
  for (auto bad : {"", "http://h", "redis://", "redis://:secret@", "redis://u:secret@h:x",
                   "redis://u:secret@h:0", "redis://u:secret@h:70000", "redis://u:secret@h/x",
                   "unix://", "unix:///p?x=1", "unix:///p?db=x"}) {
    auto address = parse_redis_url(bad);
    ASSERT_FALSE(address) << bad;
    EXPECT_EQ(address.error().message.find("secret"), std::string::npos);
  }
  EXPECT_FALSE(parse_redis_url("unix:///" + std::string(200, 'x')));
}

}  // namespace
}  // namespace flame::runtime

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/store/redis_facts.hpp"

#include <gtest/gtest.h>

namespace flame::broker {
namespace {

RedisFacts good() {
  RedisFacts facts;
  take_info(
      facts,
      "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\nuptime_in_seconds:7\r\n# "
      "Memory\r\nused_memory:900\r\n"
      "maxmemory:1000\r\nmaxmemory_policy:noeviction\r\nloading:0\r\nrole:master\r\naof_enabled:"
      "1\r\n"
      "aof_last_write_status:err\r\naof_pending_bio_fsync:1\r\naof_delayed_fsync:3\r\ncluster_"
      "enabled:0\r\nconnected_slaves:"
      "3\r\n"
      "slave0:ip=10.0.0.1,port=1,state=online,offset=5,lag=0\r\n"
      "slave1:ip=10.0.0.2,port=1,state=wait_bgsave,offset=0,lag=0\r\n"
      "slave2:ip=10.0.0.3,port=1,state=online,offset=5,lag=1");
  return facts;
}

TEST(RedisFacts, AreReadFromInfo) {
  auto facts = good();
  EXPECT_EQ(facts.run_id, "abc");
  EXPECT_EQ(facts.uptime_us, 7'000'000);
  EXPECT_EQ(facts.file, (AofLook{.failed = true, .pending = true, .delayed = 3}));
  EXPECT_EQ(facts.replicas, 2u);
  EXPECT_TRUE(facts.memory_near_limit());
  EXPECT_FALSE(check_facts(facts, false, "p"));
}

TEST(RedisFacts, WaitaofCameWith72) {
  auto facts = good();
  EXPECT_FALSE(facts.has_waitaof());
  for (auto version : {"7.2.0", "7.4.1", "8.0.0"}) {
    facts.version = version;
    EXPECT_TRUE(facts.has_waitaof()) << version;
  }
}

TEST(RedisFacts, SyncedNeedsAlwaysAlsoWhileRewriting) {
  auto facts = good();
  EXPECT_FALSE(facts.synced());
  facts.appendfsync = "always";
  EXPECT_TRUE(facts.synced());
  facts.fsync_on_rewrite = false;
  EXPECT_FALSE(facts.synced());
}

TEST(RedisFacts, ARefusalSaysWhatAndWhatNext) {
  for (auto word : {"OOM", "MISCONF", "READONLY", "LOADING", "BUSY", "NOAUTH", "WRONGPASS",
                    "NOPERM", "CLUSTERDOWN"}) {
    auto refusal = explain(std::string(word) + " something", "redis://h:1");
    EXPECT_NE(refusal.error.code, proto::Code::kOk) << word;
    EXPECT_NE(refusal.error.message.find("redis://h:1"), std::string::npos) << word;
    EXPECT_EQ(refusal.error.message.find("something"), std::string::npos) << word;
  }
  EXPECT_FALSE(explain("OOM x", "p").final);
  auto message = [](std::string_view text) { return explain(text, "p").error.message; };
  // With the command's name, without its arguments.
  for (std::string quote : {"'", "`"}) {
    auto unknown = message("EXECABORT Transaction discarded because of: ERR unknown command " +
                           quote + "XADD" + quote + ", with args beginning with: 'secret'");
    EXPECT_NE(unknown.find("does not know the command XADD that"), std::string::npos) << unknown;
    EXPECT_EQ(unknown.find("secret"), std::string::npos) << unknown;
  }
  auto denied = message("NOPERM this user has no permissions to run the 'xadd' command");
  EXPECT_NE(denied.find("the command xadd; docs"), std::string::npos) << denied;
  EXPECT_TRUE(explain("WRONGPASS x", "p").final);
  EXPECT_NE(explain("ERR new\x01kind", "p").error.message.find("new\\x01kind"), std::string::npos);
}

}  // namespace
}  // namespace flame::broker

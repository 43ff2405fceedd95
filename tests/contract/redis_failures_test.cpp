// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// What a real Redis can do to us: forget, die, hang, refuse. Nothing confirmed may be lost or
// doubled, and every state says why it is so.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "proto/elements.hpp"
#include "tests/contract/store_world.hpp"

namespace flame::tests {
namespace {

using namespace broker;  // NOLINT: the operations are the words of these tests
using proto::Bytes;
using proto::Code;
using testing::HasSubstr;
namespace fs = std::filesystem;

PutOutput output(uint64_t id, size_t size = 4) {
  std::string payload;
  proto::append_element(payload, std::string(size, 'x'));
  return {"s",
          {id, 1},
          proto::encode_output_head({"ex", 1, 0, {}, {}}, 1),
          Bytes::own(std::move(payload))};
}
PutSession session() { return {"s", 1000, {{"state", "Open"}}, {}}; }

std::string ids(uint64_t last) {
  std::string out = "list";
  for (uint64_t i = 1; i <= last; i++) out += " " + std::to_string(i);
  return out;
}

struct RedisFailures : testing::Test {
  explicit RedisFailures(std::vector<std::string> arguments = {}) : world(std::move(arguments)) {}
  RedisWorld world;

  Teller teller(const std::string& name = "a") { return Teller(world, world.make_store(name)); }
  Teller teller(RedisStoreConfig config) {
    return Teller(world, std::make_unique<RedisStore>(world.loop(), std::move(config)));
  }
  void set(const std::string& name, const std::string& value) {
    ASSERT_EQ(world.server().command({"CONFIG", "SET", name, value}), "OK");
  }
  fs::path aof() {
    for (const auto& entry : fs::directory_iterator(world.server().folder() + "/appendonlydir")) {
      if (entry.path().string().find(".incr.") != std::string::npos) return entry.path();
    }
    return {};
  }
  /// SIGKILL of a Redis whose last writes had not reached the disk.
  void forget_down_to(uintmax_t aof_bytes) {
    world.server().kill();
    fs::resize_file(aof(), aof_bytes);
    world.server().start();
  }
  StoreHealth wait_down(Teller& teller) {
    return teller.wait_health([](const StoreHealth& health) { return !health.writable; });
  }
  void wait_up(Teller& teller) {
    teller.wait_health([](const StoreHealth& health) { return health.writable; });
  }
};

// ---- words of another process
// -------------------------------------------------------------------------

TEST_F(RedisFailures, WhatTheAutoscalerWroteIsReadAndWhatIsNoRowIsLeftOut) {
  auto a = teller();
  a.start();
  EXPECT_TRUE(a.ask<ScaleRead>(ReadScale{1}).rows.empty());
  auto row = proto::encode_value(proto::Map{{"application", "app"}, {"wanted", 3}});
  world.server().command({"HSET", "flame:scale", "app", row, "bad", "no row"});
  for (auto text : {"first", "second"})
    world.server().command({"XADD", "flame:decisions", "*", "at", "5", "text", text});
  auto read = a.ask<ScaleRead>(ReadScale{2});
  EXPECT_EQ(read.tag, 2u);
  ASSERT_EQ(read.rows.size(), 1u);
  EXPECT_EQ(read.rows[0].find("wanted")->number(), 3);
  ASSERT_EQ(read.decisions.size(), 2u);
  EXPECT_EQ(*read.decisions[0].find("text")->text(), "second") << "newest first";
  EXPECT_EQ(read.decisions[0].find("at")->number(), 5);
  read = a.ask<ScaleRead>(ReadScale{3, false});
  EXPECT_EQ(read.rows.size(), 1u);
  EXPECT_TRUE(read.decisions.empty());
  world.server().command({"SET", "flame:scale", "not a hash"});
  EXPECT_THAT(a.ask<ScaleRead>(ReadScale{4}).error.message, HasSubstr("a key of ours"));
}

// ---- forgetting
// -----------------------------------------------------------------------------------------

TEST_F(RedisFailures, ForgottenBatchesComeBackFromTheRing) {
  auto a = teller();
  a.start();
  a.write({session(), output(1)});
  auto size = fs::file_size(aof());
  a.write({output(2)});
  a.write({output(3)});
  forget_down_to(size);
  EXPECT_EQ(world.table()["flame:{s}:done"], ids(1));
  wait_down(a);
  wait_up(a);
  EXPECT_EQ(world.table()["flame:{s}:done"], ids(3));
  a.write({output(4)});
  EXPECT_EQ(world.table()["flame:{s}:done"], ids(4));
}

TEST_F(RedisFailures, ForgottenBatchesAndTheForgottenEpochComeBack) {
  auto a = teller();
  a.start();
  a.write({session(), output(1)});
  auto size = fs::file_size(aof());
  auto b = teller("a2");
  (void)b;
  // The epoch of the next broker is raised, then lost with everything after it.
  {
    auto next = teller("b");
    next.start();
    next.write({output(2)});
    forget_down_to(size);
    EXPECT_EQ(world.server().command({"HGET", "flame:meta", "epoch"}).substr(0, 2), "1-");
    wait_down(next);
    wait_up(next);
    EXPECT_EQ(world.server().command({"HGET", "flame:meta", "epoch"}).substr(0, 2), "2-");
    EXPECT_EQ(world.table()["flame:{s}:done"], ids(2));
  }
  a.send({output(9)});
  a.wait<Fenced>();
}

TEST_F(RedisFailures, BrokerAndRedisKilledTogetherLoseNothing) {
  uintmax_t size = 0;
  std::string lineage;
  {
    auto a = teller();
    lineage = a.start().lineage;
    a.write({session(), output(1)});
    size = fs::file_size(aof());
    for (uint64_t id = 2; id <= 20; id++) a.write({output(id)});
  }
  forget_down_to(size);
  auto a = teller();
  auto found = a.start();
  EXPECT_FALSE(found.lineage_broken) << found.reason;
  EXPECT_EQ(found.lineage, lineage);
  EXPECT_EQ(found.last_batch, 20u);
  ASSERT_EQ(found.sessions.size(), 1u);
  EXPECT_EQ(found.sessions[0].done_length, 20u);
  EXPECT_EQ(world.table()["flame:{s}:done"], ids(20));
}

TEST_F(RedisFailures, WithoutARingALossWhileRunningIsSaid) {
  auto config = world.config("a");
  config.ring_bytes = 0;
  auto a = teller(config);
  a.start();
  a.write({session(), output(1)});
  auto size = fs::file_size(aof());
  a.write({output(2)});
  forget_down_to(size);
  EXPECT_THAT(a.wait<LineageBroken>().reason, HasSubstr("batch 2"));
  EXPECT_EQ(a.ask<OutputsRead>(ReadOutputs{1, "s", 0, 9, 0}).runs.size(), 1u);  // reads go on
  a.store().accept_loss(world.now());
  a.wait<LineageAccepted>();
  auto again = a.wait<Recovered>();
  EXPECT_EQ(again.last_batch, 1u);
  a.set_last(1);
  a.write({output(2)});
  EXPECT_EQ(world.table()["flame:{s}:done"], ids(2));
}

TEST_F(RedisFailures, AnEmptyRedisUnderAFullRingIsALoss) {
  {
    auto a = teller();
    a.start();
    a.write({session()});
  }
  world.server().command({"FLUSHALL"});
  auto found = teller().start();
  EXPECT_TRUE(found.lineage_broken);
  EXPECT_THAT(found.reason, HasSubstr("empty"));
}

TEST_F(RedisFailures, AStandByLetsTheOwnerOfAFreshRedisComeFirst) {
  {
    auto a = teller();
    a.start();
    a.write({session()});
  }
  world.server().kill();
  world.server().start();
  auto config = world.config("stand-by");
  config.takeover_grace_us = 3600 * proto::kUsPerSecond;
  auto b = teller(config);
  b.store().start(world.now());
  EXPECT_EQ(wait_down(b).error.code, Code::kRecovering);
  auto a = teller();
  EXPECT_FALSE(a.start().lineage_broken);
}

// ---- dying and hanging
// ----------------------------------------------------------------------------------

TEST_F(RedisFailures, AKillWithABatchOnItsWayNeitherLosesNorDoublesIt) {
  auto seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  auto a = teller();
  a.start();
  a.write({session()});
  uint64_t id = 0;
  for (int kills = 0; kills < 8; kills++) {
    int before = static_cast<int>(random() % 40);
    for (int i = 0; i < before; i++) a.write({output(++id)});
    uint64_t number = a.send({output(++id, 200'000)});
    if (random() % 2 == 0) world.loop().turn(0);
    if (random() % 2 == 0)
      usleep(static_cast<useconds_t>(random() % 400));  // lets Redis come to any point of it
    world.server().kill();
    world.server().start();
    while (a.wait<BatchStored>().number < number) {
    }
  }
  EXPECT_EQ(world.table()["flame:{s}:done"], ids(id));
}

TEST_F(RedisFailures, AHangingRedisIsGivenUpAndItsLateWorkCountsOnce) {
  auto config = world.config("a");
  config.reply_timeout_us = 500'000;
  auto a = teller(config);
  a.start();
  a.write({session(), output(1)});
  ::kill(world.server().pid(), SIGSTOP);
  uint64_t number = a.send({output(2)});
  EXPECT_EQ(wait_down(a).error.code, Code::kStoreDown);
  ::kill(world.server().pid(), SIGCONT);
  EXPECT_EQ(a.wait<BatchStored>().number, number);
  EXPECT_EQ(world.table()["flame:{s}:done"], ids(2));
}

TEST_F(RedisFailures, AnAbsentRedisIsWaitedFor) {
  world.server().kill();
  auto a = teller();
  a.store().start(world.now());
  auto health = wait_down(a);
  EXPECT_EQ(health.error.code, Code::kStoreDown);
  EXPECT_FALSE(health.final);
  world.server().start();
  EXPECT_EQ(a.wait<Recovered>().epoch_number, 1u);
}

TEST_F(RedisFailures, ABrokerThatNeverCameToItsRedisLeavesNoRing) {
  world.server().kill();
  auto a = teller();
  a.store().start(world.now());
  wait_down(a);
  auto path = dynamic_cast<RedisStore&>(a.store()).ring_path();
  EXPECT_TRUE(fs::exists(path));
  a.store().close(world.now());
  EXPECT_THAT(a.wait<StoreClosed>().error.message, HasSubstr("not stopped cleanly"));
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(RedisFailures, LoadingIsNoOutage) {
  auto a = teller();
  a.start();
  std::vector<StoreOp> ops = {session()};
  for (uint64_t id = 1; id <= 3000; id++)
    ops.push_back(PutReader{"s", "reader" + std::to_string(id), "1 1"});
  a.write(std::move(ops));
  for (int i = 0; i < 3000; i++)
    world.server().command({"SET", "foreign" + std::to_string(i), "x"});
  world.server().command({"BGREWRITEAOF"});
  while (world.server().command({"INFO", "persistence"}).find("aof_rewrite_in_progress:1") !=
         std::string::npos) {
    world.loop().turn(1000);
  }
  world.server().kill();
  world.server().start(
      {"--key-load-delay", "100", "--loading-process-events-interval-bytes", "1024"}, false);
  auto health = a.wait_health(
      [](const StoreHealth& h) { return h.error.message.find("loading") != std::string::npos; });
  EXPECT_EQ(health.error.code, Code::kStoreDown);
  wait_up(a);
}

// ---- refusing
// -------------------------------------------------------------------------------------------

TEST_F(RedisFailures, AFullRedisKeepsTheBatchWaiting) {
  auto a = teller();
  a.start();
  a.write({session()});
  set("maxmemory", "1000000");
  uint64_t number = a.send({output(1)});
  auto health = a.wait_health([](const StoreHealth& h) { return !h.writable; });
  EXPECT_EQ(health.error.code, Code::kStoreRefused);
  EXPECT_THAT(health.error.message, HasSubstr("maxmemory"));
  EXPECT_EQ(world.table().count("flame:{s}:done"), 0u);
  set("maxmemory", "0");
  EXPECT_EQ(a.wait<BatchStored>().number, number);
  EXPECT_EQ(world.table()["flame:{s}:done"], ids(1));
}

std::vector<StoreOp> deleting() {
  return {DropSegments{"s", 0, 0, true}, DropResults{"s"}, DropSession{"s"}};
}

TEST_F(RedisFailures, ABrokerStartsOnAFullRedisAndMakesRoom) {
  {
    auto a = teller();
    a.start();
    a.write({session(), output(1)});
    set("maxmemory", "1000000");
    a.send({output(2)});
    wait_down(a);
  }
  auto a = teller();
  EXPECT_FALSE(a.start().lineage_broken);
  EXPECT_EQ(world.table()["flame:{s}:done"], ids(2)) << "the ring had it";
  uint64_t number = a.send(deleting());
  EXPECT_TRUE(wait_down(a).full);
  a.store().make_room(number, world.now());
  EXPECT_EQ(a.wait<BatchStored>().number, number);
  EXPECT_EQ(world.table(), (Table{{"flame:meta", "hash batch=3"}}));
  set("maxmemory", "0");
  wait_up(a);  // though nothing is written
}

TEST_F(RedisFailures, WhatMadeRoomAndIsForgottenComesBackFromTheRing) {
  auto a = teller();
  a.start();
  a.write({session(), output(1)});
  auto size = fs::file_size(aof());
  set("maxmemory", "1000000");
  a.store().make_room(a.last() + 1, world.now());
  a.write(deleting());
  world.server().kill();
  fs::resize_file(aof(), size);
  world.server().start({"--maxmemory", "1000000"});
  EXPECT_EQ(world.table()["flame:{s}:done"], ids(1));
  wait_down(a);
  wait_up(a);
  EXPECT_EQ(world.table(), (Table{{"flame:meta", "hash batch=2"}}));
}

TEST_F(RedisFailures, NobodyMakesRoomWhoWasReplaced) {
  auto a = teller();
  a.start();
  a.write({session(), output(1)});
  set("maxmemory", "1000000");
  a.send(deleting());
  wait_down(a);
  auto b = teller("b");
  EXPECT_EQ(b.start().last_batch, 1u);
  a.store().make_room(a.last(), world.now());
  a.wait<Fenced>();
  EXPECT_EQ(world.table()["flame:{s}:done"], ids(1));
}

TEST_F(RedisFailures, ALargeBatchMakesRoomInPartsAndASpoiledSessionHarmsNoOther) {
  auto a = teller();
  a.start();
  a.write({session(), {PutSession{"bad", 1001, {{"state", "Open"}}, {}}}});
  world.spoil("bad");
  set("maxmemory", "1000000");
  std::vector<StoreOp> ops = {PutFields{"bad", {{"state", "x"}}}};
  for (uint64_t id = 1; id <= 9000; id++) ops.push_back(output(id));
  a.store().make_room(a.last() + 1, world.now());
  uint64_t number = a.send(std::move(ops));
  EXPECT_EQ(a.wait<SessionRefused>().session, "bad");
  EXPECT_EQ(a.wait<BatchStored>().number, number);
  EXPECT_EQ(world.server().command({"HLEN", "flame:{s}:output:0"}), "9000");
  EXPECT_EQ(world.table()["flame:{s}:done"], ids(9000));
}

TEST_F(RedisFailures, NearItsLimitItIsBusyButStores) {
  auto a = teller();
  a.start();
  auto info = world.server().command({"INFO", "memory"});
  auto used = std::stoull(info.substr(info.find("used_memory:") + 12));
  set("maxmemory", std::to_string(used * 100 / 92));
  auto health = a.wait_health([](const StoreHealth& h) { return h.busy; });
  EXPECT_TRUE(health.writable);
  EXPECT_EQ(health.error.code, Code::kBusy);
  set("maxmemory", "0");
  a.wait_health([](const StoreHealth& h) { return !h.busy; });
}

TEST_F(RedisFailures, AReplicaIsNotWrittenUntilItIsPromoted) {
  auto a = teller();
  a.start();
  a.write({session()});
  world.server().command({"REPLICAOF", "127.0.0.1", "1"});
  uint64_t number = a.send({output(1)});
  EXPECT_THAT(wait_down(a).error.message, HasSubstr("replica"));
  world.server().command({"REPLICAOF", "NO", "ONE"});
  EXPECT_EQ(a.wait<BatchStored>().number, number);
}

TEST_F(RedisFailures, ARedisThatCannotWriteItsDiskKeepsTheBatchWaiting) {
  auto a = teller();
  a.start();
  a.write({session()});
  fs::create_directories(world.server().folder() + "/dump.rdb/in-the-way");
  set("save", "3600 1000000");
  world.server().command({"BGSAVE"});
  while (world.server().command({"INFO", "persistence"}).find("rdb_last_bgsave_status:err") ==
         std::string::npos) {
    world.loop().turn(1000);
  }
  uint64_t number = a.send({output(1)});
  EXPECT_THAT(a.wait_health([](const StoreHealth& h) { return !h.writable; }).error.message,
              HasSubstr("disk"));
  set("stop-writes-on-bgsave-error", "no");
  EXPECT_EQ(a.wait<BatchStored>().number, number);
}

TEST_F(RedisFailures, EvictionIsRefusedUntilItIsTurnedOff) {
  set("maxmemory-policy", "allkeys-lru");
  auto a = teller();
  a.store().start(world.now());
  auto health = wait_down(a);
  EXPECT_TRUE(health.final);
  EXPECT_THAT(health.error.message, HasSubstr("noeviction"));
  set("maxmemory-policy", "noeviction");
  a.wait<Recovered>();
}

TEST_F(RedisFailures, AnUnknownSchemaIsRefused) {
  world.server().command({"HSET", "flame:meta", "schema", "99", "epoch", "somehow"});
  auto a = teller();
  a.store().start(world.now());
  auto health = wait_down(a);
  EXPECT_TRUE(health.final);
  EXPECT_THAT(health.error.message, HasSubstr("schema '99'"));
  EXPECT_EQ(world.server().command({"HGET", "flame:meta", "epoch"}), "somehow");
}

TEST_F(RedisFailures, AnotherClustersRedisIsRefused) {
  { teller().start(); }
  auto config = world.config("b");
  config.cluster = "other";
  auto b = teller(config);
  b.store().start(world.now());
  auto health = wait_down(b);
  EXPECT_EQ(health.error.code, Code::kCluster);
  EXPECT_THAT(health.error.message, HasSubstr("'flame'"));
}

TEST_F(RedisFailures, AForeignKeyUnderOurNameIsRefused) {
  world.server().command({"SET", "flame:meta", "mine"});
  auto a = teller();
  a.store().start(world.now());
  EXPECT_TRUE(wait_down(a).final);
}

struct ClusterMode : RedisFailures {
  ClusterMode() : RedisFailures({"--cluster-enabled", "yes"}) {}
};
TEST_F(ClusterMode, IsRefusedWithTheReason) {
  auto a = teller();
  a.store().start(world.now());
  auto health = wait_down(a);
  EXPECT_TRUE(health.final);
  EXPECT_THAT(health.error.message, HasSubstr("cluster mode"));
}

struct WithoutAof : RedisFailures {
  WithoutAof() : RedisFailures({"--appendonly", "no"}) {}
};
TEST_F(WithoutAof, IsRefusedUnlessAllowedAndThenCalledVolatile) {
  {
    auto a = teller();
    a.store().start(world.now());
    EXPECT_THAT(wait_down(a).error.message, HasSubstr("--allow-volatile-redis"));
  }
  auto config = world.config("a");
  config.allow_volatile = true;
  auto a = teller(config);
  EXPECT_TRUE(a.start().abilities.is_volatile);
  a.write({session()});
}

TEST_F(RedisFailures, AFileThatIsSwitchedOnCountsOnlyWhenAllIsInIt) {
  auto a = teller();
  a.start();
  a.write({session()});
  for (int i = 0; i < 3000; i++)
    world.server().command({"SET", "foreign" + std::to_string(i), "x"});
  set("appendonly", "no");
  EXPECT_THAT(wait_down(a).error.message, HasSubstr("set appendonly yes"));
  set("rdb-key-save-delay", "1000");
  set("appendonly", "yes");
  auto health = a.wait_health([](const StoreHealth& h) {
    return h.error.message.find("for the first time") != std::string::npos;
  });
  EXPECT_FALSE(health.writable);
  EXPECT_FALSE(health.final);
  wait_up(a);
  EXPECT_THAT(world.server().command({"INFO", "persistence"}),
              HasSubstr("aof_rewrite_in_progress:0"));
  a.write({output(1)});
}

struct WithAlways : RedisFailures {
  WithAlways() : RedisFailures({"--appendfsync", "always"}) {}
};
TEST_F(WithAlways, EveryBatchIsOnDiskAndTheRingEmpty) {
  auto a = teller();
  EXPECT_TRUE(a.start().abilities.synced);
  a.write({session()});
  EXPECT_EQ(dynamic_cast<RedisStore&>(a.store()).figures().ring_used, 0u);
}
TEST_F(WithAlways, ARestartNeedsNoRing) {
  {
    auto a = teller();
    a.start();
    a.write({session()});
  }
  world.server().kill();
  world.server().start();
  EXPECT_FALSE(teller("elsewhere").start().lineage_broken);
}

// ---- logging in
// -----------------------------------------------------------------------------------------

struct WithPassword : RedisFailures {
  WithPassword() : RedisFailures({"--requirepass", "correct-horse"}) {}
};
TEST_F(WithPassword, TheRightOneWorks) {
  auto config = world.config("a");
  config.redis.password = "correct-horse";
  EXPECT_EQ(teller(config).start().epoch_number, 1u);
}
TEST_F(WithPassword, AWrongOneIsRefusedAndNeverShown) {
  testing::internal::CaptureStderr();
  auto config = world.config("a");
  config.redis.password = "battery-staple";
  auto a = teller(config);
  a.store().start(world.now());
  auto health = wait_down(a);
  EXPECT_TRUE(health.final);
  EXPECT_EQ(health.error.code, Code::kStoreRefused);
  EXPECT_THAT(health.error.message,
              testing::AllOf(HasSubstr("password"), testing::Not(HasSubstr("battery"))));
  EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::Not(HasSubstr("battery")));
}
TEST_F(WithPassword, NoneIsRefused) {
  auto a = teller();
  a.store().start(world.now());
  EXPECT_THAT(wait_down(a).error.message, HasSubstr("password"));
}

// ---- other ways to reach it
// -----------------------------------------------------------------------------

struct OverTcp : RedisFailures {
  static std::string free_port() {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    socklen_t size = sizeof address;
    getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    close(fd);
    return std::to_string(ntohs(address.sin_port));
  }
  OverTcp() : OverTcp(free_port()) {}
  explicit OverTcp(const std::string& chosen)
      : RedisFailures({"--port", chosen, "--bind", "127.0.0.1"}), port(chosen) {}
  std::string port;
};
TEST_F(OverTcp, ByNameAndNumberWithADatabaseOfItsOwn) {
  auto config = world.config("a");
  config.redis = *runtime::parse_redis_url("redis://localhost:" + port + "/3");
  auto a = teller(config);
  a.start();
  a.write({session(), output(1, 2'000'000)});
  EXPECT_EQ(a.ask<OutputsRead>(ReadOutputs{1, "s", 0, 9, 0}).values.at(0).size() > 2'000'000, true);
  EXPECT_EQ(world.table(), Table{});  // database 0
}
TEST_F(RedisFailures, AHostWithoutANameIsSaid) {
  auto config = world.config("a");
  config.redis = *runtime::parse_redis_url("redis://no-such-host.invalid:1");
  auto a = teller(config);
  a.store().start(world.now());
  EXPECT_THAT(wait_down(a).error.message, HasSubstr("no-such-host.invalid"));
}

// The answer comes when nobody waits for it any more: for the address sanitizer to judge.
TEST_F(RedisFailures, WhoGoesBeforeAHostIsFoundIsNotWaitedFor) {
  auto config = world.config("a");
  config.redis = *runtime::parse_redis_url("redis://no-such-host.invalid:1");
  for (int i = 0; i < 20; i++) {
    auto a = teller(config);
    a.store().start(world.now());
  }
  EXPECT_EQ(teller().start().epoch_number, 1u);
}

// ---- settings and the ring
// ------------------------------------------------------------------------------

TEST_F(RedisFailures, TheStartLeavesAppendfsyncAsItWas) {
  teller().start();
  EXPECT_EQ(world.server().command({"CONFIG", "GET", "appendfsync"}), "appendfsync\neverysec\n");
}

TEST_F(RedisFailures, AChangeOfAppendfsyncIsNoticed) {
  auto a = teller();
  EXPECT_FALSE(a.start().abilities.synced);
  set("appendfsync", "always");
  a.wait_health(
      [](const StoreHealth& health) { return health.writable && health.abilities.synced; });
  EXPECT_EQ(world.server().command({"HGET", "flame:meta", "fsync"}), "always");
  set("appendfsync", "everysec");
  a.wait_health(
      [](const StoreHealth& health) { return health.writable && !health.abilities.synced; });
  EXPECT_EQ(world.server().command({"HGET", "flame:meta", "fsync"}), "everysec");
  a.write({session()});
}

TEST_F(RedisFailures, WithoutTheRightToConfigureItStartsAndStores) {
  // The first rule of docs/redis.md.
  world.server().command({"ACL", "SETUSER", "flame", "on", ">secret", "~flame:*", "resetchannels",
                          "-@all", "+@read", "+@write", "+@transaction", "+@connection", "+eval",
                          "+info"});
  auto config = world.config("a");
  config.redis.user = "flame";
  config.redis.password = "secret";
  auto a = teller(config);
  a.start();
  a.write({session(), output(1)});
  EXPECT_EQ(a.ask<OutputsRead>(ReadOutputs{1, "s", 0, 9, 0}).runs.size(), 1u);
}

TEST_F(RedisFailures, ACleanStopRemovesTheRing) {
  auto a = teller();
  a.start();
  a.write({session()});
  auto path = dynamic_cast<RedisStore&>(a.store()).ring_path();
  EXPECT_TRUE(fs::exists(path));
  EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  a.store().close(world.now());
  EXPECT_EQ(a.wait<StoreClosed>().error.code, Code::kOk);
  EXPECT_FALSE(fs::exists(path));
  EXPECT_EQ(world.server().command({"HGET", "flame:meta", "clean"}), "1");
}

TEST_F(RedisFailures, AFullRingIsBusyAndNeverOverwrites) {
  auto config = world.config("a");
  config.ring_bytes = 1 << 20;
  auto a = teller(config);
  a.start();
  a.write({session()});
  uint64_t id = 0;
  for (int i = 0; i < 12; i++) a.send({output(++id, 200'000)});
  a.wait_health([](const StoreHealth& h) { return h.busy; });
  while (a.wait<BatchStored>().number < a.last()) {
  }
  EXPECT_EQ(world.table()["flame:{s}:done"], ids(id));
}

TEST_F(RedisFailures, ABatchLargerThanTheRingIsStoredWithoutIt) {
  auto config = world.config("a");
  config.ring_bytes = 1 << 20;
  auto a = teller(config);
  a.start();
  a.write({session()});
  a.write({output(1, 3'000'000)});
  a.write({output(2)});
  EXPECT_EQ(world.table()["flame:{s}:done"], ids(2));
}

TEST_F(RedisFailures, TheRingEmptiesWhenTheDiskHasIt) {
  auto a = teller();
  a.start();
  a.write({session(), output(1, 1'500'000)});  // filling enough to be looked at often
  auto& store = dynamic_cast<RedisStore&>(a.store());
  EXPECT_GT(store.figures().ring_used, 1'000'000u);
  auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (store.figures().ring_used > 0 && std::chrono::steady_clock::now() < until)
    world.step(store);
  EXPECT_EQ(store.figures().ring_used, 0u);
}

}  // namespace
}  // namespace flame::tests

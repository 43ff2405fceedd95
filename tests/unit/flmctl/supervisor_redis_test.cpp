// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/supervisor_redis.hpp"

#include <gmock/gmock.h>

#include "client/flmctl/supervisor_probe.hpp"
#include "client/flmctl/supervisor_process.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace flame::flmctl {
namespace {

using ::testing::HasSubstr;
constexpr uint64_t kGiB = 1ull << 30;

RedisPlan plan() {
  return {.folder = "/d/redis",
          .socket = "/d/redis.sock",
          .appendfsync = "always",
          .memory_bytes = 10 * kGiB,
          .disk_free_bytes = 100 * kGiB};
}

TEST(RedisSettings, KeepEverythingAndStayOnTheSocket) {
  std::string text = redis_settings(plan());
  for (const char* line : {"port 0\n", "unixsocket \"/d/redis.sock\"\n", "unixsocketperm 700\n",
                           "appendonly yes\n", "appendfsync always\n", "save \"\"\n",
                           "maxmemory-policy noeviction\n", "no-appendfsync-on-rewrite no\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, HasSubstr("maxmemory " + std::to_string(10 * kGiB / 100 * 60) + "\n"));
}

TEST(RedisSettings, RewritesAreRareAndFitTheDisk) {
  auto rewrite = [](uint64_t disk_free) {
    auto small = plan();
    small.disk_free_bytes = disk_free;
    return redis_settings(small);
  };
  EXPECT_THAT(rewrite(100 * kGiB),
              HasSubstr("auto-aof-rewrite-min-size " + std::to_string(4 * kGiB)));
  EXPECT_THAT(rewrite(10 * kGiB), HasSubstr("auto-aof-rewrite-min-size " + std::to_string(kGiB)));
  EXPECT_THAT(rewrite(0), HasSubstr("auto-aof-rewrite-min-size " + std::to_string(kGiB / 4)));
}

TEST(RedisSettings, APathCannotBecomeASetting) {
  auto odd = plan();
  odd.folder = "/d/\"\nrename-command x";
  EXPECT_THAT(redis_settings(odd), HasSubstr("dir \"/d/\\\"\\nrename-command x\"\n"));
}

TEST(RedisAnswers, AreToldApart) {
  EXPECT_EQ(redis_answer("+PONG\r\n+OK\r\n"), RedisAnswer::kReady);
  EXPECT_EQ(redis_answer("-LOADING Redis is loading\r\n"), RedisAnswer::kLoading);
  EXPECT_EQ(redis_answer(""), RedisAnswer::kNone);
  std::string info = "$90\r\n# Memory\r\nused_memory:123\r\nused_memory_rss:9\r\nmaxmemory:456\r\n";
  EXPECT_EQ(redis_info_number(info, "used_memory"), 123u);
  EXPECT_EQ(redis_info_number(info, "maxmemory"), 456u);
  EXPECT_EQ(redis_info_number(info, "nothing"), 0u);
}

TEST(HttpAnswers, OnlyA200HasABody) {
  EXPECT_EQ(http_body("HTTP/1.1 200 OK\r\nA: b\r\n\r\n[]"), "[]");
  EXPECT_EQ(http_body("HTTP/1.1 404 Not Found\r\n\r\nno"), "");
  EXPECT_TRUE(http_ok("HTTP/1.0 200 OK\r\n\r\n"));
  EXPECT_FALSE(http_ok("HTTP/1.1"));
  EXPECT_EQ(address_of("http://127.0.0.1:7780"), "127.0.0.1:7780");
  EXPECT_EQ(address_of("unix:///a/b"), "/a/b");
}

TEST(ProcessIdentity, IsTheStartTimeAndEndsWithTheProcess) {
  EXPECT_GT(start_ticks_of(getpid()), 0u);
  EXPECT_FALSE(boot_id().empty());
  pid_t pid = fork();
  if (pid == 0) {
    pause();
    _exit(0);
  }
  uint64_t ticks = start_ticks_of(pid);
  EXPECT_TRUE(SupervisedProcess::adopt(pid, ticks));
  EXPECT_FALSE(SupervisedProcess::adopt(pid, ticks + 1));
  kill(pid, SIGKILL);
  siginfo_t info{};
  waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
  EXPECT_EQ(start_ticks_of(pid), 0u) << "a zombie does not run";
  waitpid(pid, nullptr, 0);
  EXPECT_FALSE(SupervisedProcess::adopt(pid, ticks));
}

TEST(ProcessEnds, AreSaidInWords) {
  EXPECT_EQ(describe_exit(CLD_EXITED, 3), "exited with code 3");
  EXPECT_EQ(describe_exit(CLD_KILLED, SIGKILL), "was killed by signal 9 (SIGKILL)");
}

}  // namespace
}  // namespace flame::flmctl

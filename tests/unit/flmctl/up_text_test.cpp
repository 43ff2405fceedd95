// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/up_text.hpp"

#include <gmock/gmock.h>

namespace flame::flmctl {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ClusterStatus running_cluster() {
  ClusterStatus status{.state = "running",
                       .version = "0.1.0",
                       .data = "/d",
                       .endpoint = "tcp://127.0.0.1:7700",
                       .http = "http://127.0.0.1:7780",
                       .redis = "unix:///d/redis.sock",
                       .settings = {.port = 7700, .slots = 2, .executors = 1}};
  status.processes = {
      {.name = "broker", .state = "running", .pid = 12, .started_ms = 1000, .restarts = 1}};
  return status;
}

TEST(UpSummary, TheDefaultClusterNeedsNoMoreWords) {
  std::string text = up_summary(running_cluster(), true, "/d");
  EXPECT_THAT(text, HasSubstr("broker      pid 12      tcp://127.0.0.1:7700"));
  EXPECT_THAT(text, HasSubstr("  flmctl down\n"));
  EXPECT_THAT(text, Not(HasSubstr("FLAME_ENDPOINT")));
}

TEST(UpSummary, AnotherOneIsNamedInEveryLineToPaste) {
  std::string text = up_summary(running_cluster(), true, "/other");
  EXPECT_THAT(text, HasSubstr("export FLAME_ENDPOINT=tcp://127.0.0.1:7700"));
  EXPECT_THAT(text, HasSubstr("flmctl down --data /d\n"));
}

TEST(StatusText, ShowsMemoryFileAndDisk) {
  ClusterHealth health{.memory_bytes = 3 << 20,
                       .memory_max_bytes = 1ull << 30,
                       .append_only_bytes = 1536,
                       .disk_free_bytes = 5ull << 40,
                       .ready = true,
                       .ready_text = "ok"};
  std::string text = status_text(running_cluster(), health, {.wall_us = 61'000'000});
  EXPECT_THAT(text, HasSubstr("3.0 MiB of 1.0 GiB"));
  EXPECT_THAT(text, HasSubstr("1.5 KiB"));
  EXPECT_THAT(text, HasSubstr("5.0 TiB free"));
  EXPECT_THAT(text, HasSubstr("60 s"));
  EXPECT_THAT(text, HasSubstr("60 s     1 restart\n"));
  EXPECT_THAT(text, HasSubstr("  http        http://127.0.0.1:7780\n"));
  for (size_t at = 0, end = 0; (end = text.find('\n', at)) != text.npos; at = end + 1)
    EXPECT_LE(end - at, 80u) << text.substr(at, end - at);
  std::string json = status_json(running_cluster(), health, {.wall_us = 61'000'000});
  EXPECT_THAT(json, HasSubstr("\"aof_bytes\": 1536"));
  EXPECT_TRUE(cluster_from_json(json)) << json;
  EXPECT_THAT(text, HasSubstr("/d  running\n"));
  EXPECT_THAT(json, HasSubstr("\"ready\": true"));
  health.memory_max_bytes = 0;
  text = status_text(running_cluster(), health, {.wall_us = 61'000'000});
  EXPECT_THAT(text, HasSubstr("3.0 MiB in Redis, no limit (maxmemory 0)\n"));
}

TEST(StatusText, SaysWhyARunningClusterServesNobody) {
  ClusterHealth health{.ready = false, .ready_text = "a \"reason\"\nwhat to do"};
  std::string text = status_text(running_cluster(), health, {.wall_us = 61'000'000});
  EXPECT_THAT(text, HasSubstr("/d  running, not ready\n      broker: a \"reason\"\n"
                              "      what to do\n"));
  std::string json = status_json(running_cluster(), health, {.wall_us = 61'000'000});
  EXPECT_THAT(json, HasSubstr("\"ready\": false,\n  \"ready_text\": "
                              "\"a \\\"reason\\\"\\nwhat to do\""));
  EXPECT_TRUE(cluster_from_json(json)) << json;
}

}  // namespace
}  // namespace flame::flmctl

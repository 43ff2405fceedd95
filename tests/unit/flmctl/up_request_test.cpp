// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/up_request.hpp"

#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/flmctl/up_ports.hpp"

namespace flame::flmctl {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

proto::Result<UpRequest> parse(std::vector<const char*> words, const std::string& redis = "") {
  words.insert(words.begin(), "up");
  return parse_up(static_cast<int>(words.size()), words.data(), redis);
}

TEST(UpRequestTest, OnlyWhatWasGivenIsAskedOfARunningCluster) {
  auto request = parse({"--data", "/d", "--executors", "3", "-d"});
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->data, "/d");
  EXPECT_TRUE(request->detach);
  EXPECT_EQ(request->given, (ControlRequest{.verb = "up", .executors = 3}));
}

TEST(UpRequestTest, DefaultsFillTheRestOfANewCluster) {
  auto request = parse({"--executors", "0"});
  EXPECT_EQ(settings_for(request->given, 8),
            (UpSettings{
                .port = 7700, .slots = 8, .executors = 0, .redis = "", .appendfsync = "everysec"}));
}

TEST(UpRequestTest, AnAutoscalerStartsWithoutExecutors) {
  auto request = parse({"--autoscale"});
  ASSERT_TRUE(request) << request.error().message;
  UpSettings settings = settings_for(request->given, 8);
  EXPECT_TRUE(settings.autoscale);
  EXPECT_EQ(settings.executors, 0u);
  EXPECT_EQ(settings.max_executors, 32u);
  request = parse({"--autoscale", "--executors", "2", "--max-executors", "5"});
  settings = settings_for(request->given, 8);
  EXPECT_EQ(settings.executors, 2u);
  EXPECT_EQ(settings.max_executors, 5u);
}

TEST(UpRequestTest, WhatIsAskedOfTheSupervisorArrivesAsItWas) {
  ControlRequest request{.verb = "scale", .application = "app", .add = 3, .leave = {"a", "b"}};
  EXPECT_EQ(request_from_json(to_json(request)).value(), request);
  request = {.verb = "up", .autoscale = true, .max_executors = 4};
  EXPECT_EQ(request_from_json(to_json(request)).value(), request);
}

TEST(UpRequestTest, APasswordComesFromTheEnvironmentOnly) {
  auto shown = parse({"--redis", "redis://user:secret@host:1/0"});
  ASSERT_FALSE(shown);
  EXPECT_THAT(shown.error().message, HasSubstr("FLAME_REDIS_URL"));
  EXPECT_THAT(shown.error().message, Not(HasSubstr("secret")));
  auto hidden = parse({}, "redis://:secret@host:1/0");
  ASSERT_TRUE(hidden);
  EXPECT_EQ(hidden->redis_url, "redis://:secret@host:1/0");
  EXPECT_EQ(hidden->given.redis, "redis://host:1/0");
  auto both = parse({"--redis", "redis://host:1/0"}, "redis://:secret@host:1/0");
  EXPECT_EQ(both->redis_url, "redis://:secret@host:1/0");
  auto other = parse({"--redis", "redis://other:1/0"}, "redis://:secret@host:1/0");
  EXPECT_EQ(other->redis_url, "redis://other:1/0");
}

TEST(UpRequestTest, NonsenseIsRefusedWithTheRightWord) {
  struct Row {
    std::vector<const char*> words;
    const char* named;
  };
  for (const auto& row :
       {Row{{"--redis", "host:6379"}, "redis://"}, Row{{"--appendfsync", "no"}, "always"},
        Row{{"--appendfsync", "always", "--redis", "unix:///r"}, "private"},
        Row{{"--max-executors", "2"}, "--autoscale"}, Row{{"--port", "65500"}, "--port"},
        Row{{"word"}, "word"}, Row{{"--slot", "2"}, "--slots"}}) {
    auto request = parse(row.words);
    ASSERT_FALSE(request) << row.named;
    EXPECT_THAT(request.error().message, HasSubstr(row.named));
  }
}

TEST(WithoutPassword, LeavesTheRest) {
  EXPECT_EQ(without_password("redis://u:p@ss@h:1/0"), "redis://h:1/0");
  EXPECT_EQ(without_password("redis://h:1/0"), "redis://h:1/0");
  EXPECT_EQ(without_password("unix:///a@b"), "unix:///a@b");
}

TEST(Difference, NamesBothValues) {
  UpSettings running{.port = 7700, .slots = 2, .executors = 1};
  EXPECT_EQ(difference({.verb = "up"}, running), "");
  EXPECT_EQ(difference({.verb = "up", .executors = 7, .port = 0, .slots = 2}, running), "");
  EXPECT_THAT(difference({.port = 7800}, running),
              HasSubstr("--port 7800 differs from the running cluster's 7700"));
  EXPECT_THAT(difference({.redis = "unix:///r"}, running), HasSubstr("private Redis"));
  EXPECT_THAT(difference({.appendfsync = "always"}, running), HasSubstr("everysec"));
  EXPECT_THAT(difference({.autoscale = true}, running), HasSubstr("no autoscaler"));
  running.autoscale = true;
  running.max_executors = 4;
  EXPECT_EQ(difference({.autoscale = true, .max_executors = 4}, running), "");
  EXPECT_THAT(difference({.max_executors = 5}, running), HasSubstr("--max-executors 5 differs"));
}

TEST(Ports, ATakenOneIsNamedWithTheNextFree) {
  auto port = free_port();
  ASSERT_TRUE(port);
  EXPECT_TRUE(check_ports(*port));
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(ports_of(*port).executors);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  auto taken = check_ports(*port);
  close(fd);
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error().message,
              HasSubstr("port " + std::to_string(*port + 1) + " (executors) is taken"));
  EXPECT_THAT(taken.error().message, HasSubstr("--port "));
}

}  // namespace
}  // namespace flame::flmctl

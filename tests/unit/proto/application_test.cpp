// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "proto/application.hpp"

#include <gtest/gtest.h>

#include "proto/codec.hpp"

namespace flame::proto::test {

namespace {

Map fields(Map more) {
  Map map = {{"name", "echo"}, {"command", "/usr/bin/echo-service"}};
  map.insert(map.end(), more.begin(), more.end());
  return map;
}
std::string refusal(Map more, Code code = Code::kBadRequest) {
  auto application = application_from(fields(std::move(more)));
  if (application) return "was accepted";
  EXPECT_EQ(application.error().code, code);
  return application.error().message;
}

Application full() {
  Application a;
  a.name = "echo";
  a.shim = "shell";
  a.command = "sh";
  a.arguments = {"-c", "cat"};
  a.environment = {{"MODE", "fast"}, {"EMPTY", ""}};
  a.working_directory = "/srv";
  a.image = "registry/echo:1";
  a.description = "says it again";
  a.labels = {"gpu", "eu"};
  a.max_instances = 12;
  a.delay_release_ms = 1500;
  a.task_timeout_ms = 2500;
  a.max_attempts = 7;
  a.reuse = false;
  a.results_ttl_ms = 1000;
  a.summary_ttl_ms = 2000;
  a.extra = Map{{"schema", Map{{"input", "text"}}}, {"resources", Map{{"cpu", 2}}}};
  return a;
}

}  // namespace

TEST(Application, EveryFieldComesBack) {
  auto a = application_from(to_value(full()));
  ASSERT_TRUE(a) << a.error().message;
  EXPECT_EQ(*a, full());
  auto stored = decode_value(encode_value(to_value(full())));
  ASSERT_TRUE(stored);
  EXPECT_EQ(*application_from(*stored), full());
}

TEST(Application, OnlyNameAndCommandAreNeeded) {
  auto a = application_from(fields({}));
  ASSERT_TRUE(a) << a.error().message;
  Application expected;
  expected.name = "echo";
  expected.command = "/usr/bin/echo-service";
  EXPECT_EQ(*a, expected);
  EXPECT_EQ(*application_from(to_value(*a)), expected);
}

TEST(Application, NullMeansTheDefault) {
  auto plain = application_from(fields({}));
  const Value full_value = to_value(full());
  for (const auto& [name, unused] : *full_value.map()) {
    if (name == "name" || name == "command" || full().extra.find(name)) continue;
    auto a = application_from(fields({{name, Value()}}));
    ASSERT_TRUE(a) << name << ": " << a.error().message;
    EXPECT_EQ(*a, *plain) << name;
  }
}

TEST(Application, EveryFieldOfAWrongKindIsNamed) {
  const Value full_value = to_value(full());
  for (const auto& [name, good] : *full_value.map()) {
    if (full().extra.find(name)) continue;  // kept as they are
    Map map;
    for (const auto& [other, value] : *full_value.map()) {
      // A list of a number fits no field.
      map.emplace_back(other, other == name ? Value(List{1}) : value);
    }
    auto a = application_from(map);
    ASSERT_FALSE(a) << name;
    EXPECT_NE(a.error().message.find("'" + name + "'"), std::string::npos) << a.error().message;
  }
}

TEST(Application, AnUnknownFieldNamesTheNearest) {
  EXPECT_NE(refusal({{"comand", "x"}}).find("did you mean 'command'"), std::string::npos);
  EXPECT_NE(refusal({{"argument", "x"}}).find("did you mean 'arguments'"), std::string::npos);
  EXPECT_NE(refusal({{"resource", "x"}}).find("did you mean 'resources'"), std::string::npos);
  EXPECT_EQ(refusal({{"zzzzzzzzz", "x"}}).find("did you mean"), std::string::npos);
  EXPECT_NE(refusal({{"evil\x1b[2J\n", "x"}}).find("\\x1b"), std::string::npos);
}

TEST(Application, ValuesOutsideTheirRangeAreRefused) {
  EXPECT_NE(refusal({{"max_instances", 0}}).find("max_instances"), std::string::npos);
  EXPECT_NE(refusal({{"max_instances", -1}}).find("max_instances"), std::string::npos);
  EXPECT_NE(refusal({{"max_attempts", 0}}).find("max_attempts"), std::string::npos);
  EXPECT_NE(refusal({{"max_attempts", 1001}}).find("max_attempts"), std::string::npos);
  EXPECT_NE(refusal({{"working_directory", "relative"}}).find("absolute"), std::string::npos);
  EXPECT_NE(refusal({{"reuse", "sometimes"}}).find("always or never"), std::string::npos);
  EXPECT_NE(refusal({{"environments", Map{{"A=B", "x"}}}}).find("environments"), std::string::npos);
  EXPECT_NE(refusal({{"environments", Map{{"A", 1}}}}).find("quote"), std::string::npos);
  EXPECT_NE(refusal({{"command", ""}}).find("command"), std::string::npos);
}

TEST(Application, ShimsOfLaterVersionsAreUnsupportedAndOthersWrong) {
  for (auto shim : {"stdio", "library"}) {
    EXPECT_NE(refusal({{"shim", shim}}, Code::kUnsupported).find(shim), std::string::npos);
  }
  EXPECT_NE(refusal({{"shim", "telnet"}}).find("native, shell, grpc or rest"), std::string::npos);
}

TEST(Application, TheOriginalsWordsForGrpcMeanIt) {
  for (auto shim : {"grpc", "Grpc", "Host", "host"}) {
    auto a = application_from(fields({{"shim", shim}}));
    ASSERT_TRUE(a) << a.error().message;
    EXPECT_EQ(a->shim, "grpc");
    EXPECT_EQ(to_value(*a).text_at("shim"), "grpc");
  }
}

TEST(Application, ARestServiceMayRunElsewhereAndSaysHowItIsReached) {
  Map rest = {{"url", "https://sums.example/v1"},
              {"health", "/ready"},
              {"content_type", "application/json"},
              {"batch", true},
              {"ca_file", "/ca.pem"}};
  auto a = application_from(Map{{"name", "sums"}, {"shim", "rest"}, {"rest", rest}});
  ASSERT_TRUE(a) << a.error().message;
  EXPECT_EQ(a->rest, (RestService{"https://sums.example/v1", "/ready", "application/json", true,
                                  "/ca.pem"}));
  EXPECT_EQ(*application_from(to_value(*a)), *a);
  auto local = application_from(fields({{"shim", "rest"}, {"rest", Value()}}));
  ASSERT_TRUE(local) << local.error().message;
  EXPECT_EQ(local->rest, RestService{});
}

TEST(Application, ARestServiceThatCannotBeReachedIsRefused) {
  auto with = [](Map rest) { return refusal({{"shim", "rest"}, {"rest", std::move(rest)}}); };
  EXPECT_NE(refusal({{"rest", Map{{"url", "http://a"}}}}).find("without shim rest"),
            std::string::npos);
  for (auto url : {"ftp://a", "http://", "a:80"})
    EXPECT_NE(with({{"url", url}}).find("http://host:port/path"), std::string::npos) << url;
  EXPECT_NE(with({{"url", "http://me:secret@a"}}).find("user and password"), std::string::npos);
  EXPECT_NE(with({{"url", "http://a/?x=1"}}).find("query"), std::string::npos);
  EXPECT_NE(with({{"url", "http://a\r\nb"}}).find("blanks"), std::string::npos);
  EXPECT_NE(with({{"health", "ready"}}).find("begins with /"), std::string::npos);
  EXPECT_NE(with({{"content_type", "a\r\nb"}}).find("printable"), std::string::npos);
  EXPECT_NE(with({{"batch", true}}).find("application/json"), std::string::npos);
  EXPECT_NE(with({{"batch", "yes"}}).find("'rest.batch' must be true or false"), std::string::npos);
  EXPECT_NE(with({{"urls", "x"}}).find("not 'urls'"), std::string::npos);
  for (auto url : {"", "http://127.0.0.1:{port}"}) {
    auto a = application_from(Map{{"name", "sums"}, {"shim", "rest"}, {"rest", Map{{"url", url}}}});
    ASSERT_FALSE(a);
    EXPECT_NE(a.error().message.find("'command'"), std::string::npos) << a.error().message;
  }
}

TEST(Application, AGrpcServiceServesOneSessionUnlessItSaysOtherwise) {
  EXPECT_TRUE(application_from(fields({}))->reuse);
  EXPECT_FALSE(application_from(fields({{"shim", "Host"}}))->reuse);
  EXPECT_FALSE(application_from(fields({{"shim", "grpc"}, {"reuse", Value()}}))->reuse);
  auto always = application_from(fields({{"shim", "grpc"}, {"reuse", "always"}}));
  EXPECT_TRUE(always->reuse);
  EXPECT_TRUE(application_from(to_value(*always))->reuse);
}

TEST(Application, OnlyAGrpcServiceHasTasksAtTheSameTime) {
  auto a = application_from(fields({{"shim", "grpc"}, {"concurrency", 4}}));
  ASSERT_TRUE(a) << a.error().message;
  EXPECT_EQ(a->concurrency, 4u);
  EXPECT_EQ(*application_from(to_value(*a)), *a);
  EXPECT_NE(refusal({{"concurrency", 2}}).find("unless the shim is grpc"), std::string::npos);
  EXPECT_NE(refusal({{"shim", "grpc"}, {"concurrency", 0}}).find("from 1 to"), std::string::npos);
  EXPECT_NE(refusal({{"shim", "grpc"}, {"concurrency", kConcurrencyMax + 1}}).find("from 1 to"),
            std::string::npos);
}

TEST(Application, DelayReleaseInSecondsIsTheSameField) {
  EXPECT_EQ(application_from(fields({{"delay_release", 3}}))->delay_release_ms, 3000u);
  EXPECT_EQ(application_from(fields({{"delay_release_ms", 250}}))->delay_release_ms, 250u);
}

TEST(Application, BadNamesAreRefused) {
  for (auto name : {"", "a/b", ".x", "a b"}) {
    auto a = application_from(Map{{"name", name}, {"command", "x"}});
    ASSERT_FALSE(a) << name;
    EXPECT_EQ(a.error().code, Code::kBadName);
  }
  EXPECT_FALSE(application_from(Value("text")));
  EXPECT_FALSE(application_from(Value()));
}

TEST(Manifest, IsMetadataAndSpec) {
  Map spec = {{"command", "x"}, {"labels", List{"a"}}};
  auto a = application_from_manifest(Map{{"metadata", Map{{"name", "echo"}}}, {"spec", spec}});
  ASSERT_TRUE(a) << a.error().message;
  EXPECT_EQ(a->name, "echo");
  EXPECT_EQ(a->labels, std::vector<std::string>{"a"});
}

TEST(Manifest, WhatIsNotOneSaysWhatIsMissing) {
  Map metadata = {{"name", "echo"}}, spec = {{"command", "x"}};
  auto text = [](const Value& manifest) {
    auto a = application_from_manifest(manifest);
    return a ? std::string("was accepted") : a.error().message;
  };
  EXPECT_NE(text("hello").find("map with metadata and spec"), std::string::npos);
  EXPECT_NE(text(Value()).find("map with metadata and spec"), std::string::npos);
  EXPECT_NE(text(List{1}).find("map with metadata and spec"), std::string::npos);
  EXPECT_NE(text(Map{{"metadata", "echo"}, {"spec", spec}}).find("metadata.name"),
            std::string::npos);
  EXPECT_NE(text(Map{{"metadata", Map{{"name", 7}}}, {"spec", spec}}).find("metadata.name"),
            std::string::npos);
  EXPECT_NE(text(Map{{"metadata", metadata}}).find("spec"), std::string::npos);
  EXPECT_NE(text(Map{{"metadata", metadata}, {"spec", "x"}}).find("spec"), std::string::npos);
  EXPECT_NE(text(Map{{"metadata", metadata}, {"spec", spec}, {"sepc", 1}}).find("'sepc'"),
            std::string::npos);
  EXPECT_NE(text(Map{{"metadata", metadata}, {"spec", Map{{"name", "other"}, {"command", "x"}}}})
                .find("metadata.name"),
            std::string::npos);
}

}  // namespace flame::proto::test

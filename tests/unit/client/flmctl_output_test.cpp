// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <set>

#include "client/flmctl/verbs.hpp"
#include "client/flmctl/yaml.hpp"
#include "proto/application.hpp"

namespace flame::flmctl {
namespace {

using proto::List;
using proto::Map;
using proto::Value;
using testing::HasSubstr;

// ---- rows
// -----------------------------------------------------------------------------------------------

const List kRows = {Map{{"id", "a-1"}, {"slots", 2}, {"labels", List{"x", "y"}}},
                    Map{{"id", "b"}, {"slots", 10}, {"more", Map{{"k", 1.5}}}}};
const std::vector<Column> kColumns = {{"ID", "id"},
                                      {"Slots", "slots"},
                                      {"Labels", "labels", nullptr, true},
                                      {"More", "more", nullptr, true}};

TEST(Output, OneListingInEveryFormat) {
  EXPECT_EQ(show_rows(kRows, kColumns, Format::kTable, 0), "ID    Slots\na-1   2\nb     10\n");
  EXPECT_EQ(show_rows(kRows, kColumns, Format::kWide, 0),
            "ID    Slots   Labels   More\na-1   2       x,y\nb     10               k=1.500\n");
  EXPECT_EQ(show_rows(kRows, kColumns, Format::kName, 0), "a-1\nb\n");
  EXPECT_EQ(
      show_rows(List{kRows[0]}, kColumns, Format::kJson, 0),
      "[\n  {\n    \"id\": \"a-1\",\n    \"slots\": 2,\n    \"labels\": [\n      \"x\",\n      "
      "\"y\"\n    ]\n  }\n]\n");
  EXPECT_EQ(show_rows(List{kRows[0]}, kColumns, Format::kYaml, 0),
            "- id: a-1\n  slots: 2\n  labels:\n    - x\n    - y\n");
}

TEST(Output, EmptyListingsAreStillListings) {
  EXPECT_EQ(show_rows({}, kColumns, Format::kJson, 0), "[]\n");
  EXPECT_EQ(show_rows({}, kColumns, Format::kTable, 0), "ID   Slots\n");
}

TEST(Output, OneOfAStreamIsALineOrADocument) {
  Value row = Map{{"id", 7}};
  EXPECT_EQ(show_item(row, Format::kJson), "{\"id\":7}\n");
  EXPECT_EQ(show_item(row, Format::kYaml), "---\nid: 7\n");
  EXPECT_EQ(show_message("done.", Format::kTable), "done.\n");
  EXPECT_EQ(show_message("done.", Format::kJson), "{\"message\":\"done.\"}\n");
}

TEST(Output, BytesThatAreNoTextDoNoHarm) {
  Value row = Map{{"id", std::string("a\x1b[2J\xff")}};
  EXPECT_EQ(show_one(row, Format::kTable), "id: a\\x1b[2J\\xff\n");
  EXPECT_THAT(show_one(row, Format::kJson), HasSubstr("\\u001b[2J\xef\xbf\xbd"));
}

TEST(Output, UnknownFormatsAreNamed) {
  EXPECT_TRUE(parse_format("wide"));
  EXPECT_THAT(parse_format("xml").error().message, HasSubstr("'xml'"));
}

TEST(Output, TimesOfAnotherDayHaveTheDate) {
  setenv("TZ", "UTC", 1);
  tzset();
  constexpr int64_t kNow = 1'700'000'000'000;
  EXPECT_EQ(show_time(0, kNow), "");
  EXPECT_EQ(show_time(kNow, kNow), "22:13:20");
  EXPECT_EQ(show_time(kNow - 86'400'000, kNow), "2023-11-13 22:13:20");
}

// ---- YAML
// -----------------------------------------------------------------------------------------------

TEST(Yaml, ReadsSeveralManifests) {
  auto documents = parse_yaml(
      "metadata: {name: one}\nspec:\n  command: /bin/one\n  arguments: [a, '7']\n  max_instances: "
      "3\n"
      "---\nmetadata:\n  name: two\nspec:\n  command: /bin/two\n  environments: {A: \"1\"}\n");
  ASSERT_TRUE(documents) << documents.error().message;
  ASSERT_EQ(documents->size(), 2u);
  auto one = proto::application_from_manifest((*documents)[0]);
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(one->arguments, (std::vector<std::string>{"a", "7"}));
  EXPECT_EQ(one->max_instances, 3u);
  auto two = proto::application_from_manifest((*documents)[1]);
  ASSERT_TRUE(two) << two.error().message;
  EXPECT_EQ(two->environment.front().second, "1");
}

TEST(Yaml, WhatIsNoManifestIsRefused) {
  EXPECT_THAT(parse_yaml("a: [1").error().message, HasSubstr("not YAML"));
  EXPECT_THAT(parse_yaml("? {a: b}\n: c").error().message, HasSubstr("key"));
  EXPECT_FALSE(parse_yaml(std::string(2 << 20, 'a')));
  std::string deep;
  for (int i = 0; i < 100; i++) deep += "[";
  EXPECT_FALSE(parse_yaml(deep + std::string(100, ']')));
  EXPECT_TRUE(parse_yaml("")->empty());
}

TEST(Yaml, AliasBombsAreRefused) {
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 9; i++) {
    std::string last = "*a" + std::to_string(i - 1), name = "a" + std::to_string(i);
    bomb += name + ": &" + name + " [" + last;
    for (int j = 0; j < 9; j++) bomb += "," + last;
    bomb += "]\n";
  }
  auto documents = parse_yaml(bomb);
  ASSERT_FALSE(documents);
  EXPECT_THAT(documents.error().message, HasSubstr("too"));
}

TEST(Yaml, WhatIsWrittenIsReadBackAsItWas) {
  Value value = Map{{"text", "7"},    {"number", 7}, {"flag", true},
                    {"word", "true"}, {"empty", ""}, {"list", List{"a: b", "- c"}},
                    {"none", List{}}};
  auto documents = parse_yaml(to_yaml(value));
  ASSERT_TRUE(documents) << documents.error().message;
  EXPECT_EQ(documents->front(), value);
}

// ---- command lines
// --------------------------------------------------------------------------------------

std::vector<runtime::OptionRow> selectors() {
  return {{"session", 's', "ID", "", ""},
          {"application", 'a', "ID", "", ""},
          {"executor", 'e', "ID", "", ""},
          {"task", 't', "ID", "", ""}};
}
proto::Result<Target> target_of(const std::string& verb, std::vector<const char*> words) {
  words.insert(words.begin(), verb.c_str());
  auto options = runtime::Options::parse(selectors(), static_cast<int>(words.size()), words.data());
  EXPECT_TRUE(options) << options.error().message;
  return Command(verb, *options).target(Kind::kSession);
}

TEST(Target, IsNamedInEveryWayThatTheHelpPromises) {
  struct Row {
    std::vector<const char*> words;
    Kind kind;
    const char* id;
    const char* task;
  };
  for (const auto& row :
       {Row{{"last"}, Kind::kSession, "last", ""},
        Row{{"session", "last"}, Kind::kSession, "last", ""},
        Row{{"-s", "x"}, Kind::kSession, "x", ""},
        Row{{"app", "echo"}, Kind::kApplication, "echo", ""},
        Row{{"-a", "echo"}, Kind::kApplication, "echo", ""},
        Row{{"executor", "e-1"}, Kind::kExecutor, "e-1", ""},
        Row{{"-s", "x", "-t", "7"}, Kind::kTask, "x", "7"}, Row{{"x/7"}, Kind::kTask, "x", "7"},
        Row{{"-a", "x/7"}, Kind::kApplication, "x/7", ""},
        Row{{"task", "x/7"}, Kind::kTask, "x", "7"}, Row{{"task", "x", "7"}, Kind::kTask, "x", "7"},
        Row{{"task", "x"}, Kind::kTask, "x", ""},
        Row{{"task", "-s", "x", "-t", "7"}, Kind::kTask, "x", "7"},
        Row{{"session", "-s", "x"}, Kind::kSession, "x", ""}, Row{{}, Kind::kSession, "", ""}}) {
    auto target = target_of("view", row.words);
    ASSERT_TRUE(target) << target.error().message;
    EXPECT_EQ(target->kind, row.kind);
    EXPECT_EQ(target->id, row.id);
    EXPECT_EQ(target->task, row.task);
  }
}

TEST(Target, InputsOfSubmitAreNeverTakenForAKind) {
  auto target = target_of("submit", {"session", "task", "app"});
  ASSERT_TRUE(target);
  EXPECT_EQ(target->id, "session");
  EXPECT_EQ(target->rest, (std::vector<std::string>{"task", "app"}));
}

TEST(Target, AWordTooManyIsNamed) {
  auto options = runtime::Options::parse(selectors(), 3,
                                         std::array<const char*, 3>{"view", "last", "more"}.data());
  ASSERT_TRUE(options);
  auto target = Command("view", *options).target(Kind::kSession);
  ASSERT_FALSE(target);
  EXPECT_THAT(target.error().message, HasSubstr("'more'"));
}

TEST(Target, TwoKindsAreOneTooMany) { EXPECT_FALSE(target_of("view", {"-s", "x", "-a", "y"})); }

TEST(Verbs, AllHaveASummaryAndAHelp) {
  std::set<std::string_view> names;
  for (const auto& verb : verbs()) {
    EXPECT_TRUE(names.insert(verb.name).second) << verb.name;
    EXPECT_FALSE(verb.summary.empty()) << verb.name;
    EXPECT_NE(verb.run == nullptr, verb.run_raw == nullptr) << verb.name;
    std::string name(verb.name);
    const char* words[] = {"flmctl", name.c_str(), "--help"};
    testing::internal::CaptureStdout();
    EXPECT_EQ(run_flmctl(3, words), 0);
    std::string help = testing::internal::GetCapturedStdout();
    EXPECT_THAT(help, HasSubstr("Usage: flmctl " + name));
    for (size_t at = 0, end = 0; (end = help.find('\n', at)) != help.npos; at = end + 1)
      EXPECT_LE(end - at, 80u) << help.substr(at, end - at);
  }
}

TEST(Verbs, AMistypedOneIsNamedWithTheNearest) {
  const char* words[] = {"flmctl", "lits"};
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_flmctl(2, words), 2);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("did you mean 'list'?"));
}

TEST(Verbs, WithoutABrokerTheNextStepIsNamed) {
  const char* words[] = {"flmctl", "list", "--endpoint", "tcp://127.0.0.1:1"};
  testing::internal::CaptureStderr();
  EXPECT_EQ(run_flmctl(4, words), 5);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "flmctl: No broker at tcp://127.0.0.1:1. Start one: flmctl up\n");
}

}  // namespace
}  // namespace flame::flmctl

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "runtime/options.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>

namespace flame::runtime {

namespace {

const std::vector<OptionRow> kRows = {
    {"config", 0, "FILE", "", "options from a YAML file"},
    {"redis-url", 0, "URL", "unix:///run/redis.sock", "where Redis is"},
    {"slots", 's', "N", "4", "tasks at a time"},
    {"insecure", 0, "", "", "no keys"},
    {"redis-password", 0, "TEXT", "", "of Redis", true},
    {.name = "application", .argument = "NAME", .help = "which", .no_environment = true},
};

class OptionsTest : public testing::Test {
 protected:
  ~OptionsTest() override {
    for (auto name : {"FLAME_SLOTS", "FLAME_REDIS_URL", "FLAME_REDIS_PASSWORD", "FLAME_CONFIG",
                      "FLAME_APPLICATION"})
      unsetenv(name);
    for (const auto& file : files_) std::filesystem::remove(file);
  }

  proto::Result<Options> parse(std::vector<const char*> words) {
    words.insert(words.begin(), "program");
    return Options::parse(kRows, static_cast<int>(words.size()), words.data());
  }
  std::string refusal(std::vector<const char*> words) {
    auto options = parse(std::move(words));
    return options ? "was accepted" : options.error().message;
  }
  const char* file(const std::string& text) {
    char path[] = "/tmp/flame-options-XXXXXX";
    close(mkstemp(path));
    std::ofstream(path) << text;
    return files_.emplace_back(path).c_str();
  }

  std::deque<std::string> files_;  // their names are handed out: they must not move
};

bool says(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
  return true;
}

}  // namespace

TEST_F(OptionsTest, FlagBeatsEnvironmentBeatsFileBeatsDefault) {
  EXPECT_EQ(parse({})->text("slots"), "4");
  EXPECT_FALSE(parse({})->given("slots"));
  auto path = file("slots: 5\n");
  EXPECT_EQ(parse({"--config", path})->text("slots"), "5");
  EXPECT_TRUE(parse({"--config", path})->given("slots"));
  setenv("FLAME_SLOTS", "6", 1);
  EXPECT_EQ(parse({"--config", path})->text("slots"), "6");
  EXPECT_EQ(parse({"--config", path, "--slots", "7"})->text("slots"), "7");
  EXPECT_EQ(parse({"--slots=8"})->text("slots"), "8");
  EXPECT_EQ(parse({"-s", "9"})->text("slots"), "9");
}

TEST_F(OptionsTest, TheFileMayBeNamedByTheEnvironment) {
  setenv("FLAME_CONFIG", file("slots: 5\n"), 1);
  EXPECT_EQ(parse({})->text("slots"), "5");
}

TEST_F(OptionsTest, SwitchesAndWordsWithoutADash) {
  auto options = parse({"list", "--insecure", "session"});
  ASSERT_TRUE(options);
  EXPECT_TRUE(options->flag("insecure"));
  EXPECT_EQ(options->positional(), (std::vector<std::string>{"list", "session"}));
  EXPECT_FALSE(parse({})->flag("insecure"));
}

TEST_F(OptionsTest, AnUnknownOptionNamesTheNearest) {
  EXPECT_TRUE(says(refusal({"--slot", "3"}), "did you mean '--slots'?"));
  EXPECT_TRUE(says(refusal({"--redis-ulr=x"}), "did you mean '--redis-url'?"));
  EXPECT_TRUE(says(refusal({"--zzzzzzzzzzz"}), "--help lists all"));
  EXPECT_TRUE(says(refusal({"--slots"}), "slots"));
}

TEST_F(OptionsTest, AnUnknownKeyNamesFileLineAndTheNearest) {
  auto path = file("# comment\nslots: 5\nredis-urll: x\n");
  auto text = refusal({"--config", path});
  EXPECT_TRUE(says(text, std::string(path) + ":3: "));
  EXPECT_TRUE(says(text, "did you mean 'redis-url'?"));
}

TEST_F(OptionsTest, AFileThatIsNoMapOfOptionsIsRefused) {
  EXPECT_TRUE(says(refusal({"--config", file("- a\n- b\n")}), "not a map"));
  EXPECT_TRUE(says(refusal({"--config", file("slots: [1, 2]\n")}), "single value"));
  EXPECT_TRUE(says(refusal({"--config", file("slots: {\n")}), "cannot read"));
  EXPECT_TRUE(says(refusal({"--config", "/nowhere/flame.yaml"}), "/nowhere/flame.yaml"));
  EXPECT_TRUE(parse({"--config", file("")})) << "an empty file is fine";
}

TEST_F(OptionsTest, ASecretIsTakenFromTheEnvironmentButNeverFromTheCommandLine) {
  auto text = refusal({"--redis-password", "hunter2"});
  EXPECT_TRUE(says(text, "FLAME_REDIS_PASSWORD"));
  EXPECT_EQ(text.find("hunter2"), std::string::npos);
  setenv("FLAME_REDIS_PASSWORD", "hunter2", 1);
  EXPECT_EQ(parse({})->text("redis-password"), "hunter2");
}

TEST_F(OptionsTest, WhatTheEnvironmentMeansOtherwiseIsNotReadFromIt) {
  setenv("FLAME_APPLICATION", "the-one-of-a-service", 1);
  EXPECT_EQ(parse({})->text("application"), "");
  EXPECT_FALSE(parse({})->given("application"));
  EXPECT_EQ(parse({"--application", "x"})->text("application"), "x");
}

TEST_F(OptionsTest, NumbersHaveARangeThatTheErrorNames) {
  auto options = parse({"--slots", "70"});
  EXPECT_EQ(*options->number("slots", 1, 100), 70u);
  EXPECT_TRUE(says(options->number("slots", 1, 64).error().message,
                   "--slots must be a number from 1 to 64"));
  EXPECT_FALSE(parse({"--slots", "x"})->number("slots", 1, 64));
  EXPECT_FALSE(parse({"--slots", "-1"})->number("slots", 1, 64));
}

TEST(Sizes, HaveUnits) {
  EXPECT_EQ(*parse_size("64"), 64u);
  EXPECT_EQ(*parse_size("64B"), 64u);
  EXPECT_EQ(*parse_size("1KiB"), 1024u);
  EXPECT_EQ(*parse_size("2M"), 2u << 20);
  EXPECT_EQ(*parse_size("3GiB"), 3ull << 30);
  for (auto text : {"", "KiB", "1 KiB", "1kb", "-1", "1.5MiB", "18446744073709551615GiB", "1TiB"}) {
    EXPECT_FALSE(parse_size(text)) << text;
  }
}

TEST(Durations, HaveUnitsAndAPlainNumberIsSeconds) {
  EXPECT_EQ(*parse_duration_ms("500ms"), 500u);
  EXPECT_EQ(*parse_duration_ms("3"), 3000u);
  EXPECT_EQ(*parse_duration_ms("3s"), 3000u);
  EXPECT_EQ(*parse_duration_ms("5m"), 300'000u);
  EXPECT_EQ(*parse_duration_ms("2h"), 7'200'000u);
  for (auto text : {"", "s", "3 s", "-3s", "1.5s", "3d", "18446744073709551615h"}) {
    EXPECT_FALSE(parse_duration_ms(text)) << text;
  }
}

TEST(Help, FitsEightyColumnsAndShowsASecretByItsVariable) {
  auto help = options_help(kRows);
  EXPECT_TRUE(says(help, "-s, --slots N"));
  EXPECT_TRUE(says(help, "(default 4)"));
  EXPECT_TRUE(says(help, "FLAME_REDIS_PASSWORD"));
  EXPECT_EQ(help.find("--redis-password"), std::string::npos);
}

}  // namespace flame::runtime

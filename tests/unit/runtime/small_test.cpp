// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Log lines, back-off, clock, assertion.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "runtime/assert.hpp"
#include "runtime/backoff.hpp"
#include "runtime/clock.hpp"
#include "runtime/log.hpp"

namespace flame::runtime {

namespace {

// What `write` prints: a log line goes to stderr.
template <class Write>
std::string printed(Write write) {
  testing::internal::CaptureStderr();
  write();
  return testing::internal::GetCapturedStderr();
}

}  // namespace

TEST(Log, ALineStaysALineWhoeverSentItsParts) {
  ASSERT_TRUE(log::start("broker", "info", "text"));
  auto line = printed([] {
    log::warn("evil\r\nmessage",
              {{"name", "a\nb\x1b[31m"}, {"count", 7}, {"bytes", std::string("\0\xff", 2)}});
  });
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << line;
  EXPECT_EQ(line.find('\x1b'), std::string::npos);
  EXPECT_EQ(line.find('\r'), std::string::npos);
  EXPECT_NE(
      line.find("broker: evil\\x0d\\x0amessage name=a\\x0ab\\x1b[31m count=7 bytes=\\x00\\xff"),
      std::string::npos)
      << line;
}

TEST(Log, JsonLinesParseWhateverStandsInThem) {
  ASSERT_TRUE(log::start("broker", "info", "json"));
  auto line = printed([] { log::error("say \"hi\" \\ \n", {{"name", "\"},{\"x\":\"\xff"}}); });
  auto json = nlohmann::json::parse(line);
  EXPECT_EQ(json["level"], "error");
  EXPECT_EQ(json["component"], "broker");
  EXPECT_EQ(json["msg"], "say \"hi\" \\ \\x0a");
  EXPECT_EQ(json["name"], "\"},{\"x\":\"\\xff");
  EXPECT_FALSE(json.contains("x"));
}

TEST(Log, LongTextFromOutsideIsCut) {
  ASSERT_TRUE(log::start("broker", "info", "text"));
  auto line = printed([] {
    log::info(std::string(100'000, 'm'), {{"name", std::string(100'000, 'n')}});
  });
  EXPECT_LT(line.size(), 2000u);
}

TEST(Log, FormatSpecifiersInAMessageMeanNothing) {
  ASSERT_TRUE(log::start("broker", "info", "text"));
  auto line = printed([] { log::info("{} {0} %s %n", {{"k", "{}"}}); });
  EXPECT_NE(line.find("{} {0} %s %n k={}"), std::string::npos) << line;
}

TEST(Log, LevelsBelowTheChosenOneAreSilent) {
  ASSERT_TRUE(log::start("broker", "warn", "text"));
  EXPECT_EQ(printed([] { log::info("quiet"); }), "");
  EXPECT_NE(printed([] { log::warn("loud"); }), "");
  EXPECT_FALSE(log::start("broker", "loud", "text"));
  EXPECT_FALSE(log::start("broker", "info", "xml"));
}

TEST(Log, AFloodIsOneLineASecondForEachKey) {
  EXPECT_TRUE(log::once_a_second("first kind"));
  EXPECT_FALSE(log::once_a_second("first kind"));
  EXPECT_TRUE(log::once_a_second("second kind"));
}

TEST(Backoff, DoublesUpToTheMostAndStartsAgain) {
  Backoff backoff(50, 300);
  EXPECT_FALSE(backoff.waiting());
  for (int64_t expected : {50, 100, 200, 300, 300}) EXPECT_EQ(backoff.next_us(), expected);
  EXPECT_TRUE(backoff.waiting());
  backoff.reset();
  EXPECT_FALSE(backoff.waiting());
  EXPECT_EQ(backoff.next_us(), 50);
}

TEST(Clock, MonotonicTimeDoesNotGoBack) {
  auto before = read_clock(), after = read_clock();
  EXPECT_LE(before.mono_us, after.mono_us);
  EXPECT_GT(before.wall_us, 1'600'000'000'000'000) << "microseconds since 1970";
}

TEST(Random, IsOfTheSizeAndAlphabetAskedFor) {
  EXPECT_EQ(random_bytes(100).size(), 100u);
  EXPECT_EQ(random_hex(16).size(), 32u);
  auto letters = random_letters(1000);
  EXPECT_EQ(letters.size(), 1000u);
  EXPECT_EQ(
      letters.find_first_not_of("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
      std::string::npos);
  EXPECT_EQ(std::set<uint64_t>({random_u64(), random_u64(), random_u64()}).size(), 3u);
}

TEST(AssertDeathTest, NamesTheBugAndAborts) {
  EXPECT_DEATH(FLAME_ASSERT(1 + 1 == 3), "flame: bug: 1 \\+ 1 == 3 is false at .*small_test.cpp");
}

}  // namespace flame::runtime

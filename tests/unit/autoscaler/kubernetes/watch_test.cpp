// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/kubernetes/watch.hpp"

#include <gmock/gmock.h>

#include "autoscaler/kubernetes/text.hpp"

namespace flame::autoscaler::kubernetes {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Kind = WatchEvent::Kind;

TEST(WatchLines, AreTheSameHoweverTheyAreCut) {
  std::string text = "{\"a\": 1}\n\n{\"b\": \"\\n\"}\n{\"c\": 3}\n{\"cut";
  for (size_t size = 1; size <= text.size(); size++) {
    Lines lines(100);
    std::vector<std::string> all;
    for (size_t at = 0; at < text.size(); at += size) {
      auto some = lines.feed(std::string_view(text).substr(at, size));
      ASSERT_TRUE(some);
      all.insert(all.end(), some->begin(), some->end());
    }
    EXPECT_THAT(all, ElementsAre("{\"a\": 1}", "{\"b\": \"\\n\"}", "{\"c\": 3}")) << size;
  }
}

TEST(WatchLines, AreBounded) {
  Lines lines(10);
  EXPECT_THAT(lines.feed("0123456789").value(), IsEmpty());
  EXPECT_FALSE(lines.feed("0"));
}

proto::Result<WatchEvent> event(const std::string& type, const std::string& object) {
  return event_from("{\"type\":\"" + type + "\",\"object\":" + object + "}");
}

TEST(WatchEvents, EachKind) {
  std::string pod = R"({"metadata":{"name":"a","resourceVersion":"7"}})";
  for (std::string type : {"ADDED", "MODIFIED"}) {
    auto put = event(type, pod);
    ASSERT_TRUE(put);
    EXPECT_EQ(put->kind, Kind::kPut);
    EXPECT_EQ(put->version, "7");
    EXPECT_EQ(text_in(put->object, {"metadata", "name"}), "a");
  }
  EXPECT_EQ(event("DELETED", pod)->kind, Kind::kGone);
  auto bookmark = event("BOOKMARK", R"({"metadata":{"resourceVersion":"9"}})");
  ASSERT_TRUE(bookmark);
  EXPECT_EQ(bookmark->kind, Kind::kBookmark);
  EXPECT_EQ(bookmark->version, "9");
  EXPECT_EQ(event("ERROR", R"({"kind":"Status","code":410,"reason":"Expired"})")->kind,
            Kind::kExpired);
  EXPECT_EQ(event("ERROR", R"({"kind":"Status","code":500})")->kind, Kind::kError);
}

TEST(WatchEvents, WhatIsNoneIsAnError) {
  EXPECT_FALSE(event_from(""));
  EXPECT_FALSE(event_from("{\"type\":\"ADDED\",\"obj"));
  EXPECT_FALSE(event_from("[]"));
  EXPECT_FALSE(event_from("{\"type\":\"ADDED\"}"));
  EXPECT_FALSE(event("ADDED", "{}"));
  EXPECT_FALSE(event("ADDED", R"({"metadata":{"resourceVersion":"7"}})")) << "no name";
  EXPECT_FALSE(event("CHANGED", R"({"metadata":{"name":"a","resourceVersion":"7"}})"));
}

}  // namespace
}  // namespace flame::autoscaler::kubernetes

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/kubernetes/text.hpp"

#include <gmock/gmock.h>

namespace flame::autoscaler::kubernetes {
namespace {

using proto::List;
using proto::Map;

TEST(KubernetesText, JsonThereAndBack) {
  std::string text = R"({"a":1,"b":[true,null,"x\u00e9"],"c":{"d":1.5}})";
  auto value = read_json(text);
  ASSERT_TRUE(value) << value.error().message;
  EXPECT_EQ(number_in(*value, {"a"}), 1);
  EXPECT_EQ(text_in(*value, {"c", "none"}), "");
  EXPECT_EQ(at(*value, {"a", "b"}), nullptr);
  EXPECT_EQ(write_json(*value), "{\"a\":1,\"b\":[true,null,\"x\xc3\xa9\"],\"c\":{\"d\":1.5}}");
}

TEST(KubernetesText, ManagedFieldsAreLeftOut) {
  auto value = read_json(R"({"metadata":{"name":"a","managedFields":[{"f:x":{}}],"uid":"u"}})");
  ASSERT_TRUE(value);
  EXPECT_EQ(*value, (Map{{"metadata", Map{{"name", "a"}, {"uid", "u"}}}}));
}

TEST(KubernetesText, WhatIsNoJsonIsAnError) {
  for (std::string text : {"", "{", "{\"a\":1}x", "tru", "\xff", "{\"a\":\"\xff\"}"}) {
    EXPECT_FALSE(read_json(text)) << text;
  }
  EXPECT_TRUE(read_json(std::string(100'000, '[') + std::string(100'000, ']')));
}

TEST(KubernetesText, YamlKeepsWhatIsQuoted) {
  auto value = read_yaml("a: 1\nb: \"1\"\nc: [x, true]\nd: {e: ~}\n");
  ASSERT_TRUE(value);
  EXPECT_EQ(*value,
            (Map{{"a", 1}, {"b", "1"}, {"c", List{"x", true}}, {"d", Map{{"e", proto::Value()}}}}));
  EXPECT_FALSE(read_yaml("a: [1"));
  EXPECT_FALSE(read_yaml(std::string(2 << 20, 'a')));
}

TEST(KubernetesText, Base64) {
  EXPECT_EQ(decode_base64("").value(), "");
  EXPECT_EQ(decode_base64("Zg==").value(), "f");
  EXPECT_EQ(decode_base64("Zm8=").value(), "fo");
  EXPECT_EQ(decode_base64("Zm9v\n YmFy").value(), "foobar");
  for (std::string text : {"Zg", "Zg=", "Z=g=", "Zm9v!", "===="}) {
    EXPECT_FALSE(decode_base64(text)) << text;
  }
}

TEST(KubernetesText, Times) {
  EXPECT_EQ(read_time("1970-01-01T00:01:00Z").value(), 60);
  EXPECT_EQ(read_time("2026-01-02T03:04:05.678Z").value(), 1767323045);
  for (std::string text : {"", "2026-01-02", "2026-01-02T03:04:05", "2026-01-02T03:04:05+01:00"}) {
    EXPECT_FALSE(read_time(text)) << text;
  }
  EXPECT_EQ(write_time(1767323045000012), "2026-01-02T03:04:05.000012Z");
}

}  // namespace
}  // namespace flame::autoscaler::kubernetes

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "broker/store/lineage.hpp"
#include "proto/keys.hpp"

namespace flame::broker {
namespace {

std::string page() {
  std::ifstream file(std::string(FLAME_SOURCE_DIR) + "/docs/redis.md");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The page and the code have one table.
TEST(RedisDoc, HasEveryKeyWithItsTypeWriterAndDeleter) {
  std::string text = page();
  for (const auto& row : proto::kKeys) {
    auto begin =
        text.find("| `" + std::string(row.pattern) + "` | " + std::string(row.type) + " |");
    ASSERT_NE(begin, text.npos) << row.pattern;
    auto line = text.substr(begin, text.find('\n', begin) - begin);
    EXPECT_NE(line.find(row.writer), line.npos) << row.pattern << ": " << row.writer;
    EXPECT_NE(line.find(row.deleter), line.npos) << row.pattern << ": " << row.deleter;
  }
}

TEST(RedisDoc, NamesEveryFieldOfMeta) {
  std::string text = page();
  for (const auto& [name, value] : Meta{}.fields())
    EXPECT_NE(text.find("`" + name + "`"), text.npos) << name;
}

}  // namespace
}  // namespace flame::broker

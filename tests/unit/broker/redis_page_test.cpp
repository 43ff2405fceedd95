// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// docs/redis.md names every field that the broker writes into hashes and rows; keys are the matter
// of the store's test.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "broker/core/demand.hpp"
#include "broker/core/executors.hpp"
#include "broker/core/lifecycle.hpp"
#include "proto/codec.hpp"

namespace flame::broker {
namespace {

// From a heading to the next, or a whole line.
std::string part_of_page(const std::string& from, const std::string& to) {
  std::ifstream file(std::string(FLAME_SOURCE_DIR) + "/docs/redis.md");
  std::stringstream text;
  text << file.rdbuf();
  std::string page = text.str();
  size_t begin = page.find(from);
  EXPECT_NE(begin, page.npos) << from;
  return page.substr(begin, page.find(to, begin + from.size()) - begin);
}

TEST(RedisPage, NamesEveryFieldOfASession) {
  std::string part = part_of_page("### flame:{S}:session", "\n#");
  for (const auto& [name, unused] : fields_of(Session{}, /*all=*/true))
    EXPECT_NE(part.find("`" + name + "`"), part.npos) << name;
}

TEST(RedisPage, NamesEveryFieldOfDemand) {
  std::string part = part_of_page("### flame:demand", "\n#");
  State state;
  state.health.writable = true;
  state.applications["app"].name = "app";
  write_demand(state, {proto::kUsPerSecond, proto::kUsPerSecond});
  ASSERT_EQ(state.ops.size(), 1u);
  auto row = proto::decode_value(std::get<PutDemand>(state.ops[0]).value);
  ASSERT_TRUE(row) << row.error().message;
  for (const auto& [name, unused] : *row->map())
    EXPECT_NE(part.find("`" + name + "`"), part.npos) << name;
}

TEST(RedisPage, NamesEveryFieldOfAnExecutor) {
  std::string part = part_of_page("| `flame:executors` |", "\n");
  const proto::Value row = row_of(State{}, Executor{});
  for (const auto& [name, unused] : *row.map()) EXPECT_NE(part.find(name), part.npos) << name;
}

}  // namespace
}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "proto/text.hpp"
#include "tests/contract/store_world.hpp"

namespace flame::tests {

namespace {

struct Show {
  std::string operator()(const std::string& text) const {
    return "string " + proto::printable(text, 4096);
  }
  std::string operator()(const broker::MemoryHash& hash) const {
    std::string out = "hash";
    for (const auto& [name, value] : hash) {
      out += " " + proto::printable(name) + "=" + proto::printable(value, 4096);
    }
    return out;
  }
  std::string operator()(const broker::MemoryList& list) const {
    std::string out = "list";
    for (const auto& entry : list) out += " " + entry;
    return out;
  }
  std::string operator()(const broker::MemoryZset& zset) const {
    std::string out = "zset";
    for (const auto& [name, score] : zset) out += " " + name + "=" + std::to_string(score);
    return out;
  }
  std::string operator()(const broker::MemoryStream& stream) const {
    std::string out = "stream";
    for (const auto& event : stream) {
      out += " [at=" + std::to_string(event.at_ms) + " code=" + event.code + " text=" + event.text +
             "]";
    }
    return out;
  }
};

}  // namespace

std::unique_ptr<broker::Store> MemoryWorld::make_store(const std::string& name) {
  auto& ring = rings_[name];
  if (!ring) ring = std::make_shared<broker::MemoryRing>();
  return std::make_unique<broker::MemoryStore>(redis_, ring);
}

void MemoryWorld::step(broker::Store& store) {
  int64_t next = dynamic_cast<broker::MemoryStore&>(store).next_us();
  now_us_ = std::max(now_us_ + 1000, next == INT64_MAX ? 0 : next);
}

Table MemoryWorld::table() {
  redis_.advance(now_us_);
  Table table;
  for (const auto& [key, value] : redis_.keys()) {
    if (key == "flame:meta") {
      table[key] = "hash batch=" + std::get<broker::MemoryHash>(value).find("batch")->second;
    } else {
      table[key] = std::visit(Show{}, value);
    }
  }
  return table;
}

}  // namespace flame::tests

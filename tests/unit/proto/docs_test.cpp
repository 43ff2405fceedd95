// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// docs/protocol.md and docs/applications.md say what the code does: their tables are compared row
// by row.
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "proto/application.hpp"
#include "proto/codec.hpp"
#include "tests/unit/proto/examples.hpp"
#include "tests/unit/proto/render.hpp"

namespace flame::proto::test {

namespace {

using Row = std::vector<std::string>;

std::string trim(const std::string& text) {
  auto from = text.find_first_not_of(' ');
  return from == text.npos ? "" : text.substr(from, text.find_last_not_of(' ') - from + 1);
}

// Every table row of the page, as its cells.
std::vector<Row> rows_of(const std::string& page) {
  std::ifstream file(std::string(FLAME_SOURCE_DIR "/docs/") + page);
  EXPECT_TRUE(file) << page;
  std::vector<Row> rows;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("| ", 0) != 0) continue;
    Row row;
    std::istringstream cells(line.substr(1));
    for (std::string cell; std::getline(cells, cell, '|');) row.push_back(trim(cell));
    rows.push_back(row);
  }
  return rows;
}

const Row* row_starting(const std::vector<Row>& rows, const std::string& first,
                        const std::string& second_begins) {
  for (const auto& row : rows) {
    if (row.size() > 2 && row[0] == first && row[1].rfind(second_begins, 0) == 0) return &row;
  }
  return nullptr;
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

}  // namespace

TEST(ProtocolPage, HasEveryMessageWithItsNumberItsFieldsAndItsPayload) {
  auto rows = rows_of("protocol.md");
  for (const auto& example : all_examples()) {
    auto type = type_of(example.message);
    std::string name = "`" + std::string(name_of(type)) + "`";
    if (payload_of(example.message) != nullptr) name += " + payload";
    const Row* row = row_starting(rows, std::to_string(static_cast<int>(type)), name);
    ASSERT_NE(row, nullptr) << "| " << static_cast<int>(type) << " | " << name << " | is missing";
    EXPECT_EQ((*row)[1], name);
    auto struct_name = std::visit(
        [](const auto& m) { return type_name<std::decay_t<decltype(m)>>(); }, example.message);
    EXPECT_EQ((*row)[2], joined(field_names(struct_name))) << name;
  }
}

TEST(ProtocolPage, HasEveryCodeAsTheTableHasIt) {
  auto rows = rows_of("protocol.md");
  static constexpr const char* kRetry[] = {"no", "later", "again"};
  for (const auto& code : kCodes) {
    Row expected = {std::to_string(static_cast<int>(code.code)), "`" + std::string(code.name) + "`",
                    kRetry[static_cast<int>(code.retry)], std::string(code.meaning)};
    EXPECT_NE(std::find(rows.begin(), rows.end(), expected), rows.end()) << joined(expected);
  }
}

TEST(ProtocolPage, HasEveryLimitWithItsValue) {
  auto rows = rows_of("protocol.md");
  for (const auto& limit : kLimits) {
    Row expected = {"`" + std::string(limit.name) + "`",
                    std::to_string(limit.value) + " " + std::string(limit.unit),
                    std::string(limit.at_it)};
    EXPECT_NE(std::find(rows.begin(), rows.end(), expected), rows.end()) << joined(expected);
  }
}

TEST(ApplicationsPage, HasEveryFieldAndNoOther) {
  Application application;
  application.concurrency = 2;  // left out where it is 1
  application.extra =
      Map{{"schema", 1}, {"url", 1}, {"installer", 1}, {"resources", 1}, {"kubernetes", 1}};
  std::set<std::string> expected, found;
  application.shim = "rest";
  const Value value = to_value(application);
  for (const auto& [name, unused] : *value.map()) expected.insert("`" + name + "`");
  const Value rest = *value.find("rest");
  for (const auto& [name, unused] : *rest.map()) expected.insert("`" + name + "`");
  for (const auto& row : rows_of("applications.md")) {
    if (row[0].front() == '`' && row[0].find(' ') == std::string::npos) found.insert(row[0]);
  }
  expected.insert("`delay_release`");  // the same in seconds
  EXPECT_EQ(found, expected);
}

}  // namespace flame::proto::test

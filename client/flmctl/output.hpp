// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Rows as the broker lists them, printed as a table, JSON or YAML. JSON is an interface: keys are
// only added.

#include <string>
#include <string_view>
#include <vector>

#include "proto/error.hpp"
#include "proto/value.hpp"

namespace flame::flmctl {

enum class Format : uint8_t { kTable, kWide, kJson, kYaml, kName };
proto::Result<Format> parse_format(std::string_view text);
/// Data, not words for a person.
inline bool is_data(Format format) { return format == Format::kJson || format == Format::kYaml; }

/// How a column of a table is made from a row.
struct Column {
  std::string_view title;
  std::string_view key;
  std::string (*show)(const proto::Value&) = nullptr;  ///< null: as it is
  bool wide = false;                                   ///< only with -o wide
};

/// A cell's text: numbers and texts as they are, lists comma separated, maps as key=value.
std::string show_value(const proto::Value& value);
/// ms since 1970 as 08:34:20, or with the date in front if that is not `now_ms`'s day; "" for 0.
std::string show_time(int64_t ms, int64_t now_ms);
/// A column's cell that is such a time, seen from now.
std::string time_cell(const proto::Value& ms);

std::string to_json(const proto::Value& value, int indent = 2);
/// One JSON object per line.

/// A listing in any of the formats.
std::string show_rows(const proto::List& rows, const std::vector<Column>& columns, Format format,
                      size_t width);
/// One thing with everything known about it: `key: value` lines, or its JSON or YAML.
std::string show_one(const proto::Value& row, Format format);
/// One of a stream of data: a line of JSON, or a document of YAML.
std::string show_item(const proto::Value& row, Format format);
/// What was done: a sentence, or an object with it as `message`.
std::string show_message(const std::string& sentence, Format format);

}  // namespace flame::flmctl

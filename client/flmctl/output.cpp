// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/output.hpp"

#include <algorithm>
#include <array>
#include <ctime>
#include <nlohmann/json.hpp>

#include "client/flmctl/yaml.hpp"
#include "client/terminal.hpp"
#include "proto/text.hpp"
#include "runtime/clock.hpp"

namespace flame::flmctl {

using proto::List;
using proto::Map;
using proto::Value;

namespace {

using Json = nlohmann::ordered_json;

struct FormatRow {
  std::string_view name;
  Format format;
};
constexpr std::array kFormats = {FormatRow{"table", Format::kTable},
                                 FormatRow{"wide", Format::kWide}, FormatRow{"json", Format::kJson},
                                 FormatRow{"yaml", Format::kYaml},
                                 FormatRow{"name", Format::kName}};

Json json_of(const Value& value) {
  return std::visit(
      [](const auto& data) -> Json {
        using D = std::decay_t<decltype(data)>;
        if constexpr (std::is_same_v<D, std::monostate>) {
          return nullptr;
        } else if constexpr (std::is_same_v<D, List>) {
          Json list = Json::array();
          for (const auto& item : data) list.push_back(json_of(item));
          return list;
        } else if constexpr (std::is_same_v<D, Map>) {
          Json map = Json::object();
          for (const auto& [name, item] : data) map[name] = json_of(item);
          return map;
        } else {
          return data;
        }
      },
      value.data);
}

std::string dump(const Value& value, int indent) {
  // Bytes that are no UTF-8 become U+FFFD rather than an exception.
  return json_of(value).dump(indent, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string name_of_row(const Value& row) {
  auto id = row.find("id");
  if (id == nullptr) id = row.find("name");
  return id == nullptr ? "" : show_value(*id);
}

}  // namespace

proto::Result<Format> parse_format(std::string_view text) {
  for (const auto& row : kFormats) {
    if (row.name == text) return row.format;
  }
  return proto::Error{
      proto::Code::kBadRequest,
      "-o must be table, wide, json, yaml or name, not '" + proto::printable(text, 40) + "'"};
}

std::string show_value(const Value& value) {
  if (auto text = value.text()) return proto::printable(*text, 4096);
  if (auto flag = std::get_if<bool>(&value.data)) return *flag ? "true" : "false";
  if (auto number = std::get_if<double>(&value.data)) return tools::show_decimals(*number, 3);
  if (std::holds_alternative<int64_t>(value.data)) return std::to_string(value.number());
  std::string out;
  auto add = [&out](const std::string& item) { out += (out.empty() ? "" : ",") + item; };
  if (auto list = value.list()) {
    for (const auto& item : *list) add(show_value(item));
  } else if (auto map = value.map()) {
    for (const auto& [name, item] : *map) add(proto::printable(name) + "=" + show_value(item));
  }
  return out;
}

std::string time_cell(const proto::Value& ms) {
  return show_time(ms.number(), runtime::read_clock().wall_ms());
}

std::string show_time(int64_t ms, int64_t now_ms) {
  if (ms <= 0) return "";
  auto seconds = static_cast<std::time_t>(ms / 1000), now = static_cast<std::time_t>(now_ms / 1000);
  std::tm then{}, today{};
  localtime_r(&seconds, &then);
  localtime_r(&now, &today);
  bool same_day = then.tm_yday == today.tm_yday && then.tm_year == today.tm_year;
  std::array<char, 64> text{};
  std::strftime(text.data(), text.size(), same_day ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &then);
  return text.data();
}

std::string to_json(const Value& value, int indent) { return dump(value, indent); }

std::string show_rows(const List& rows, const std::vector<Column>& columns, Format format,
                      size_t width) {
  if (format == Format::kJson) return to_json(rows);
  if (format == Format::kYaml) return to_yaml(rows);
  if (format == Format::kName) {
    std::string out;
    for (const auto& row : rows) out += name_of_row(row) + "\n";
    return out;
  }
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> cells(rows.size());
  for (const auto& column : columns) {
    if (column.wide && format != Format::kWide) continue;
    header.emplace_back(column.title);
    for (size_t i = 0; i < rows.size(); i++) {
      static const Value kNothing;
      auto found = rows[i].find(column.key);
      const Value& value = found == nullptr ? kNothing : *found;
      cells[i].push_back(column.show != nullptr ? column.show(value) : show_value(value));
    }
  }
  return tools::format_table(header, cells, format == Format::kWide ? 0 : width);
}

std::string show_one(const Value& row, Format format) {
  if (format == Format::kJson) return to_json(row);
  if (format == Format::kYaml) return to_yaml(row);
  if (format == Format::kName) return name_of_row(row) + "\n";
  std::string out;
  size_t widest = 0;
  if (auto map = row.map()) {
    for (const auto& [name, value] : *map) widest = std::max(widest, name.size());
    for (const auto& [name, value] : *map) {
      if (value.list() != nullptr && !value.list()->empty() &&
          value.list()->front().map() != nullptr) {
        out += name + ":\n";
        for (const auto& item : *value.list()) out += "  " + show_value(item) + "\n";
        continue;
      }
      out += name + ":" + std::string(widest - name.size() + 1, ' ') + show_value(value);
      out.erase(out.find_last_not_of(' ') + 1);
      out += "\n";
    }
  }
  return out;
}

std::string show_item(const Value& row, Format format) {
  return format == Format::kYaml ? "---\n" + to_yaml(row) : dump(row, -1);
}

std::string show_message(const std::string& sentence, Format format) {
  return is_data(format) ? show_item(Map{{"message", sentence}}, format) : sentence + "\n";
}

}  // namespace flame::flmctl

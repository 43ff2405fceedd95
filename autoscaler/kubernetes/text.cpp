// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/kubernetes/text.hpp"

#include <time.h>
#include <yaml-cpp/yaml.h>

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "proto/text.hpp"
#include "proto/time.hpp"

namespace flame::autoscaler::kubernetes {

using Json = nlohmann::ordered_json;
using proto::Code;
using proto::Error;
using proto::List;
using proto::Map;
using proto::Result;
using proto::Value;

namespace {

constexpr int kDepthMax = 64;
// yaml-cpp expands aliases while it loads, so a text that could grow is refused before.
constexpr size_t kYamlMax = 1 << 20;
constexpr size_t kNodesMax = 100'000;

Value value_of(const Json& json, int depth) {
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_float()) return json.get<double>();
  if (json.is_number()) return json.get<int64_t>();
  if (json.is_string()) return json.get_ref<const std::string&>();
  if (depth >= kDepthMax) return {};
  if (json.is_array()) {
    List list;
    for (const auto& item : json) list.push_back(value_of(item, depth + 1));
    return list;
  }
  if (!json.is_object()) return {};
  Map map;
  for (const auto& [name, item] : json.items()) map.emplace_back(name, value_of(item, depth + 1));
  return map;
}

Json json_of(const Value& value) {
  if (auto flag = std::get_if<bool>(&value.data)) return *flag;
  if (auto number = std::get_if<int64_t>(&value.data)) return *number;
  if (auto real = std::get_if<double>(&value.data)) return *real;
  if (auto text = value.text()) return *text;
  if (auto list = value.list()) {
    Json all = Json::array();
    for (const auto& item : *list) all.push_back(json_of(item));
    return all;
  }
  if (!value.map()) return nullptr;
  Json all = Json::object();
  for (const auto& [name, item] : *value.map()) all[name] = json_of(item);
  return all;
}

struct YamlReader {
  size_t nodes = 0;

  // Throws std::length_error: caught by read_yaml.
  Value read(const YAML::Node& node, int depth) {
    if (depth > kDepthMax || ++nodes > kNodesMax) throw std::length_error("too deep or too large");
    if (node.IsScalar()) return scalar(node);
    if (node.IsSequence()) {
      List list;
      for (const auto& item : node) list.push_back(read(item, depth + 1));
      return list;
    }
    Map map;
    if (!node.IsMap()) return {};
    for (const auto& entry : node) {
      map.emplace_back(entry.first.as<std::string>(), read(entry.second, depth + 1));
    }
    return map;
  }
  static Value scalar(const YAML::Node& node) {
    const std::string& text = node.Scalar();
    if (node.Tag() == "!") return text;  // quoted
    if (text == "true" || text == "false") return text == "true";
    if (auto number = proto::parse_number<int64_t>(text)) return *number;
    return text;
  }
};

constexpr std::array<int, 256> kDigits = [] {
  std::array<int, 256> digits{};
  digits.fill(-1);
  std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < alphabet.size(); i++) {
    digits[static_cast<unsigned char>(alphabet[i])] = static_cast<int>(i);
  }
  return digits;
}();

}  // namespace

Result<Value> read_json(std::string_view text) {
  auto keep = [](int, Json::parse_event_t event, const Json& parsed) {
    return event != Json::parse_event_t::key || parsed != "managedFields";
  };
  try {
    return value_of(Json::parse(text, keep), 0);
  } catch (const Json::exception& error) {
    return Error{Code::kBadFrame, "this is no JSON: " + proto::printable(error.what(), 160)};
  }
}

std::string write_json(const Value& value) {
  return json_of(value).dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Value> read_yaml(const std::string& text) {
  if (text.size() > kYamlMax || text.find('\0') != text.npos)
    return Error{Code::kBadRequest, "this is no YAML of at most 1 MiB"};
  try {
    return YamlReader().read(YAML::Load(text), 0);
  } catch (const std::exception& error) {
    return Error{Code::kBadRequest, "this is no YAML: " + proto::printable(error.what(), 160)};
  }
}

Result<std::string> decode_base64(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int have = 0;
  size_t padding = 0, digits = 0;
  for (char c : text) {
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t') continue;
    int digit = kDigits[static_cast<unsigned char>(c)];
    if (c == '=') padding++;
    if (c != '=' && (digit < 0 || padding > 0)) return Error{Code::kBadRequest, "is not base64"};
    digits++;
    if (c == '=') continue;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    have += 6;
    if (have < 8) continue;
    have -= 8;
    out += static_cast<char>(bits >> have & 255);
  }
  if (digits % 4 != 0 || padding > 2) return Error{Code::kBadRequest, "is not whole base64"};
  return out;
}

Result<int64_t> read_time(const std::string& text) {
  tm time{};
  const char* end = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &time);
  if (end != nullptr && *end == '.') {
    end++;
    while (*end >= '0' && *end <= '9') end++;
  }
  if (end == nullptr || std::string_view(end) != "Z")
    return Error{Code::kBadRequest, "'" + proto::printable(text, 40) + "' is no time in UTC"};
  return timegm(&time);
}

std::string write_time(int64_t wall_us) {
  time_t seconds = wall_us / proto::kUsPerSecond;
  tm time{};
  gmtime_r(&seconds, &time);
  char text[64];
  size_t size = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &time);
  std::snprintf(text + size, sizeof text - size, ".%06dZ",
                static_cast<int>(wall_us % proto::kUsPerSecond));
  return text;
}

const Value* at(const Value& value, std::initializer_list<std::string_view> path) {
  const Value* here = &value;
  for (auto key : path) {
    here = here->find(key);
    if (here == nullptr) return nullptr;
  }
  return here;
}

std::string text_in(const Value& value, std::initializer_list<std::string_view> path) {
  const Value* found = at(value, path);
  return found == nullptr || found->text() == nullptr ? "" : *found->text();
}

int64_t number_in(const Value& value, std::initializer_list<std::string_view> path) {
  const Value* found = at(value, path);
  return found == nullptr ? 0 : found->number();
}

}  // namespace flame::autoscaler::kubernetes

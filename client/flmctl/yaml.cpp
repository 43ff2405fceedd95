// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/yaml.hpp"

#include <yaml-cpp/yaml.h>

#include "client/flmctl/files.hpp"
#include "proto/text.hpp"

namespace flame::flmctl {

using proto::Code;
using proto::Error;
using proto::List;
using proto::Map;
using proto::Result;
using proto::Value;

namespace {

constexpr int kDepthMax = 16;
// yaml-cpp expands aliases while it loads, so a text that could grow is refused before.
constexpr size_t kTextMax = 1 << 20;
constexpr size_t kNodesMax = 100'000;

struct Reader {
  size_t nodes = 0;

  Result<Value> read(const YAML::Node& node, int depth) {
    if (depth > kDepthMax || ++nodes > kNodesMax) {
      return Error{Code::kBadRequest, "is nested too deeply or too large for a manifest"};
    }
    if (node.IsScalar()) return scalar(node);
    if (node.IsSequence()) return sequence(node, depth);
    if (node.IsMap()) return map(node, depth);
    return Value();
  }

  static Value scalar(const YAML::Node& node) {
    const std::string& text = node.Scalar();
    if (node.Tag() == "!") return Value(text);  // quoted
    if (text == "true" || text == "false") return Value(text == "true");
    if (auto number = proto::parse_number<int64_t>(text)) return Value(*number);
    return Value(text);
  }
  Result<Value> sequence(const YAML::Node& node, int depth) {
    List list;
    for (const auto& item : node) {
      auto value = read(item, depth + 1);
      if (!value) return value;
      list.push_back(std::move(*value));
    }
    return Value(std::move(list));
  }
  Result<Value> map(const YAML::Node& node, int depth) {
    Map map;
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) return Error{Code::kBadRequest, "has a key that is not a text"};
      auto value = read(entry.second, depth + 1);
      if (!value) return value;
      map.emplace_back(entry.first.Scalar(), std::move(*value));
    }
    return Value(std::move(map));
  }
};

void emit(YAML::Emitter& out, const Value& value) {
  if (auto list = value.list()) {
    if (list->empty()) out << YAML::Flow;
    out << YAML::BeginSeq;
    for (const auto& item : *list) emit(out, item);
    out << YAML::EndSeq;
  } else if (auto map = value.map()) {
    if (map->empty()) out << YAML::Flow;
    out << YAML::BeginMap;
    for (const auto& [name, item] : *map) {
      out << YAML::Key << name << YAML::Value;
      emit(out, item);
    }
    out << YAML::EndMap;
  } else if (auto text = value.text()) {
    // A text that would be read back as something else is quoted.
    bool plain = !proto::parse_number<double>(*text) && *text != "true" && *text != "false" &&
                 *text != "null" && *text != "~" && !text->empty();
    if (!plain) out << YAML::DoubleQuoted;
    out << *text;
  } else if (auto flag = std::get_if<bool>(&value.data)) {
    out << *flag;
  } else if (auto number = std::get_if<int64_t>(&value.data)) {
    out << *number;
  } else if (auto real = std::get_if<double>(&value.data)) {
    out << *real;
  } else {
    out << YAML::Null;
  }
}

}  // namespace

Result<std::vector<Value>> parse_yaml(const std::string& text) {
  if (text.size() > kTextMax) return Error{Code::kTooLarge, "is larger than 1 MiB"};
  std::vector<Value> documents;
  try {
    Reader reader;
    for (const auto& node : YAML::LoadAll(text)) {
      if (node.IsNull()) continue;
      auto value = reader.read(node, 0);
      if (!value) return value.error();
      documents.push_back(std::move(*value));
    }
  } catch (const YAML::Exception& error) {
    return Error{Code::kBadRequest, std::string("is not YAML: ") + error.what()};
  }
  return documents;
}

Result<std::vector<Value>> read_yaml(const std::string& path) {
  auto text = read_file(path, kTextMax);
  if (!text) return text.error();
  auto documents = parse_yaml(*text);
  if (!documents) return Error{documents.error().code, path + ": " + documents.error().message};
  return documents;
}

std::string to_yaml(const Value& value) {
  YAML::Emitter out;
  emit(out, value);
  return std::string(out.c_str()) + "\n";
}

}  // namespace flame::flmctl

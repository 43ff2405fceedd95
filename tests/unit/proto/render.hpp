// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Messages as JSON for readers and for other languages. The names of the fields come from the text
// of proto/messages.hpp itself, so that the one list in a struct's fields() stays the only one.

#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>
#include <vector>

#include "proto/messages.hpp"

namespace flame::proto::test {

using Json = nlohmann::ordered_json;

/// The arguments of f(...) in `struct <name>` of proto/messages.hpp; empty if there is no such
/// struct.
std::vector<std::string> field_names(const std::string& struct_name);

/// UTF-8 as a text, anything else as {"hex": "..."}.
Json render_text(std::string_view text);
Json render_value(const Value& value);
std::string to_hex(std::string_view bytes);
std::string from_hex(std::string_view hex);

/// Stands in the rendering where fields() and its text differ in number.
inline constexpr const char* kUnnamed = "(unnamed fields)";

/// "Submit" for proto::Submit.
template <class T>
std::string type_name() {
  std::string_view text = __PRETTY_FUNCTION__;  // "... [with T = flame::proto::Submit; ...]"
  text.remove_prefix(text.find("T = ") + 4);
  text = text.substr(0, text.find_first_of(";]"));
  return std::string(text.substr(text.rfind(':') + 1));
}

template <class T>
Json render(const T& value);

template <class T>
Json render(const std::vector<T>& items) {
  Json out = Json::array();
  for (const auto& item : items) out.push_back(render(item));
  return out;
}

template <class T>
Json render(const T& value) {
  if constexpr (std::is_same_v<T, Value>) {
    return render_value(value);
  } else if constexpr (std::is_same_v<T, std::string>) {
    return render_text(value);
  } else if constexpr (std::is_same_v<T, Run>) {
    return Json{{"first", value.first}, {"count", value.count}};
  } else if constexpr (std::is_enum_v<T>) {
    return static_cast<uint64_t>(value);
  } else if constexpr (std::is_arithmetic_v<T>) {
    return value;
  } else {
    Json out = Json::object();
    auto names = field_names(type_name<T>());
    const_cast<T&>(value).fields([&](auto&... field) {
      size_t at = 0;
      ((out[at < names.size() ? names[at] : "field " + std::to_string(at)] = render(field), at++),
       ...);
      if (at != names.size()) out[kUnnamed] = at;
    });
    return out;
  }
}

}  // namespace flame::proto::test

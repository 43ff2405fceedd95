// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A small tree for what has no fixed shape on the wire: rows of listings, manifests. Not on the
// task path.

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace flame::proto {

struct Value;
using List = std::vector<Value>;
/// Keys keep their order: a listing shows them as they were written.
using Map = std::vector<std::pair<std::string, Value>>;

struct Value {
  std::variant<std::monostate, bool, int64_t, double, std::string, List, Map> data;

  Value() = default;
  Value(bool b) : data(b) {}                           // NOLINT(google-explicit-constructor)
  Value(double d) : data(d) {}                         // NOLINT(google-explicit-constructor)
  Value(const char* s) : data(std::string(s)) {}       // NOLINT(google-explicit-constructor)
  Value(std::string s) : data(std::move(s)) {}         // NOLINT(google-explicit-constructor)
  Value(std::string_view s) : data(std::string(s)) {}  // NOLINT(google-explicit-constructor)
  Value(List l) : data(std::move(l)) {}                // NOLINT(google-explicit-constructor)
  Value(Map m) : data(std::move(m)) {}                 // NOLINT(google-explicit-constructor)
  template <std::integral Int>
  Value(Int i) : data(static_cast<int64_t>(i)) {}  // NOLINT(google-explicit-constructor)

  bool is_null() const { return std::holds_alternative<std::monostate>(data); }
  const Map* map() const { return std::get_if<Map>(&data); }
  const List* list() const { return std::get_if<List>(&data); }
  const std::string* text() const { return std::get_if<std::string>(&data); }
  /// The number, or `otherwise` if it is none.
  int64_t number(int64_t otherwise = 0) const {
    auto n = std::get_if<int64_t>(&data);
    return n ? *n : otherwise;
  }
  /// The entry of a map, or null if this is no map or has none.
  const Value* find(std::string_view key) const;

  /// Of an entry of a map; "" or 0 if there is none of that kind.
  std::string_view text_at(std::string_view key) const;
  int64_t number_at(std::string_view key) const;

  friend bool operator==(const Value&, const Value&) = default;
};

inline const Value* Value::find(std::string_view key) const {
  if (auto entries = map()) {
    for (const auto& [name, value] : *entries) {
      if (name == key) return &value;
    }
  }
  return nullptr;
}

inline std::string_view Value::text_at(std::string_view key) const {
  auto value = find(key);
  return value == nullptr || value->text() == nullptr ? std::string_view() : *value->text();
}

inline int64_t Value::number_at(std::string_view key) const {
  auto value = find(key);
  return value == nullptr ? 0 : value->number();
}

}  // namespace flame::proto

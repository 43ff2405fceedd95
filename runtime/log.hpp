// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Lines for the person who operates a process: time, level, message, key=value. Text from outside
// is escaped and cut; payloads are never logged. Any thread.

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

#include "proto/error.hpp"

namespace flame::runtime::log {

enum class Level { kDebug, kInfo, kWarn, kError };

struct Field {
  std::string_view key;
  std::string value;
  Field(std::string_view k, std::string_view v) : key(k), value(v) {}
  Field(std::string_view k, const char* v) : key(k), value(v) {}
  Field(std::string_view k, const std::string& v) : key(k), value(v) {}
  template <std::integral Number>
  Field(std::string_view k, Number v) : key(k), value(std::to_string(v)) {}
};
using Fields = std::initializer_list<Field>;

/// `component` stands in every line; format text or json; level debug, info, warn, error. To
/// stderr.
proto::Status start(std::string_view component, std::string_view level, std::string_view format);

void write(Level level, std::string_view message, Fields fields = {});
inline void debug(std::string_view m, Fields f = {}) { write(Level::kDebug, m, f); }
inline void info(std::string_view m, Fields f = {}) { write(Level::kInfo, m, f); }
inline void warn(std::string_view m, Fields f = {}) { write(Level::kWarn, m, f); }
inline void error(std::string_view m, Fields f = {}) { write(Level::kError, m, f); }

/// True at most once a second for each `key`: for lines that a flood from outside could repeat.
bool once_a_second(std::string_view key);

}  // namespace flame::runtime::log

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "proto/ids.hpp"

#include <algorithm>

#include "proto/limits.hpp"
#include "proto/text.hpp"

namespace flame::proto {

namespace {
bool allowed(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}
}  // namespace

Result<std::string> check_name(std::string_view what, std::string_view name) {
  const std::string shown = "'" + printable(name, 40) + "'";
  if (name.empty()) return Error{Code::kBadName, std::string(what) + " name is empty"};
  if (name.size() > kNameBytesMax) {
    return Error{Code::kBadName, std::string(what) + " name " + shown + " has " +
                                     std::to_string(name.size()) + " characters; at most " +
                                     std::to_string(kNameBytesMax) + " are allowed"};
  }
  if (name.front() == '.' || name.front() == '-') {
    return Error{Code::kBadName, std::string(what) + " name " + shown + " starts with '.' or '-'"};
  }
  if (!std::all_of(name.begin(), name.end(), allowed)) {
    return Error{Code::kBadName, std::string(what) + " name " + shown +
                                     " has a character outside of A-Z a-z 0-9 . _ -"};
  }
  return std::string(name);
}

}  // namespace flame::proto

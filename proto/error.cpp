// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "proto/error.hpp"

namespace flame::proto {

const CodeRow& row_of(Code code) {
  for (const auto& row : kCodes) {
    if (row.code == code) return row;
  }
  return kCodes[1];
}

Code code_from(uint64_t number) {
  for (const auto& row : kCodes) {
    if (static_cast<uint64_t>(row.code) == number) return row.code;
  }
  return Code::kBadRequest;
}

Code code_named(std::string_view name) {
  if (name.empty()) return Code::kOk;
  for (const auto& row : kCodes) {
    if (row.name == name) return row.code;
  }
  return Code::kBadRequest;
}

}  // namespace flame::proto

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "proto/rows.hpp"

#include "proto/codec.hpp"
#include "proto/elements.hpp"

namespace flame::proto {

Bytes encode_rows(const List& rows) {
  std::string payload;
  for (const auto& row : rows) append_element(payload, encode_value(row));
  return Bytes::own(std::move(payload));
}

Result<List> decode_rows(std::string_view payload) {
  List rows;
  ElementReader reader(payload);
  while (auto element = reader.next()) {
    auto row = decode_value(*element);
    if (!row) return row.error();
    rows.push_back(std::move(*row));
  }
  if (!reader.rest().empty()) return Error{Code::kBadFrame, "rows that are cut"};
  return rows;
}

}  // namespace flame::proto

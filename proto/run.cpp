// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "proto/run.hpp"

#include "proto/text.hpp"

namespace flame::proto {

void append_run(std::string& out, const Run& run) {
  append_number(out, run.first);
  if (run.count == 1) return;
  out += '-';
  append_number(out, run.last());
}

std::string to_string(const Run& run) {
  std::string out;
  append_run(out, run);
  return out;
}

Result<Run> parse_run(std::string_view text) {
  auto dash = text.find('-');
  auto first = parse_number<uint64_t>(text.substr(0, dash));
  auto last = dash == text.npos ? first : parse_number<uint64_t>(text.substr(dash + 1));
  if (!first || !last || *first == 0 || *last < *first || *last == UINT64_MAX) {
    return Error{Code::kBadRequest,
                 "'" + printable(text, 40) + "' is not a run of task ids; write 7 or 7-12"};
  }
  return Run{*first, *last - *first + 1};
}

}  // namespace flame::proto

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/failures.hpp"

#include <algorithm>

#include "client/terminal.hpp"
#include "proto/text.hpp"

namespace flame::tools {

namespace {

// A reason may hold lines of a stderr: indent them, and let no control character reach the
// terminal.
std::string indented(std::string_view reason) {
  std::string out;
  while (!reason.empty()) {
    size_t end = std::min(reason.find('\n'), reason.size());
    out += "      " + proto::printable(reason.substr(0, end), 400) + "\n";
    reason.remove_prefix(std::min(end + 1, reason.size()));
  }
  return out;
}

}  // namespace

void Failures::add(const proto::Exception& failure) {
  count_++;
  auto same = std::find_if(kinds_.begin(), kinds_.end(), [&failure](const Kind& kind) {
    return kind.code == failure.code && kind.reason == failure.reason;
  });
  if (same != kinds_.end()) {
    same->count++;
  } else if (kinds_.size() < kKept) {
    kinds_.push_back({failure.code, failure.reason, failure.id, 1});
  } else {
    others_++;
  }
}

std::string Failures::show() const {
  std::string out;
  for (size_t i = 0; i < std::min(kShown, kinds_.size()); i++) {
    const Kind& kind = kinds_[i];
    out += "  " + with_thousands(kind.count) + " x " + std::string(proto::name_of(kind.code)) +
           ", first task " + std::to_string(kind.first) + ":\n" + indented(kind.reason);
  }
  uint64_t rest = others_;
  for (size_t i = kShown; i < kinds_.size(); i++) rest += kinds_[i].count;
  if (rest > 0) out += "  and " + with_thousands(rest) + " more with other reasons\n";
  return out;
}

}  // namespace flame::tools

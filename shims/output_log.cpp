// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "shims/output_log.hpp"

#include <algorithm>

#include "proto/limits.hpp"

namespace flame::shims {

void OutputLog::append(std::string_view bytes) {
  bytes = bytes.substr(bytes.size() - std::min<size_t>(bytes.size(), proto::kInstanceLogBytes));
  bool joins = !pieces_.empty() && pieces_.back().uid == uid_ && pieces_.back().tasks == tasks_;
  if (!joins) {
    pieces_.push_back({uid_, tasks_, {}});
    bytes_ += sizeof(Piece);
  }
  pieces_.back().text += bytes;
  bytes_ += bytes.size();
  while (bytes_ > proto::kInstanceLogBytes + sizeof(Piece)) {
    drop_first(bytes_ - proto::kInstanceLogBytes - sizeof(Piece));
  }
}

void OutputLog::drop_first(size_t bytes) {
  auto& first = pieces_.front();
  if (bytes < first.text.size()) {
    first.text.erase(0, bytes);
    bytes_ -= bytes;
    return;
  }
  bytes_ -= first.text.size() + sizeof(Piece);
  pieces_.pop_front();
}

std::string OutputLog::text(proto::SessionUid uid, proto::TaskId task) const {
  std::string text;
  for (const auto& piece : pieces_) {
    if (piece.uid == uid && (task == 0 || piece.tasks.contains(task))) text += piece.text;
  }
  return text;
}

}  // namespace flame::shims

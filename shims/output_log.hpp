// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What an instance wrote to stdout and stderr last, and which tasks it had in hand meanwhile: what
// `flmctl logs` shows.

#include <deque>
#include <string>
#include <string_view>

#include "proto/ids.hpp"
#include "proto/run.hpp"

namespace flame::shims {

/// At most instance_log_bytes; older pieces make room.
class OutputLog {
 public:
  /// What comes from now on was written in this session, while one of these tasks ran (an empty
  /// run: none).
  void at(proto::SessionUid uid, const proto::Run& tasks) {
    uid_ = uid;
    tasks_ = tasks;
  }
  proto::SessionUid uid() const { return uid_; }
  void append(std::string_view bytes);

  bool empty() const { return pieces_.empty(); }
  /// Of one session; not of task 0: only what was written while that task may have run.
  std::string text(proto::SessionUid uid, proto::TaskId task) const;

 private:
  struct Piece {
    proto::SessionUid uid = 0;
    proto::Run tasks;
    std::string text;
  };
  void drop_first(size_t bytes);

  proto::SessionUid uid_ = 0;
  proto::Run tasks_;
  std::deque<Piece> pieces_;
  size_t bytes_ = 0;  ///< of all pieces, with what each costs beside its text
};

}  // namespace flame::shims

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Results on their way to the broker: gathered during a turn, sent as few messages at its end, and
// kept until they are recorded, because a successful send means nothing.

#include <cstdint>
#include <map>
#include <vector>

#include "proto/messages.hpp"

namespace flame::executor {

/// What a service answered: a part of one frame. Times are Unix time in us.
struct Answer {
  proto::SessionUid uid = 0;
  proto::Run run;
  proto::Ticket ticket;
  int64_t start_us = 0;
  int64_t end_us = 0;
  std::vector<proto::Exception> exceptions;  ///< ascending ids
  proto::Bytes elements;
};

/// The tasks of `answer` that lie in `part`.
Answer part_of(const Answer& answer, const proto::Run& part);

class ResultBox {
 public:
  void add(Answer answer);

  /// What became ready since the last call, cut and joined to messages within the limits; kept from
  /// now on.
  std::vector<proto::TaskResults> flush();
  /// Everything that is kept, to be said again on a new link.
  std::vector<proto::TaskResults> unrecorded() const;

  /// The broker has these, or does not want them.
  void forget(proto::SessionUid uid, const proto::Run& run);

  /// Of payload, gathered and kept.
  uint64_t bytes() const { return bytes_; }
  bool empty() const { return ready_.empty() && kept_.empty(); }
  void list(std::vector<proto::HandRun>& hand) const;

 private:
  struct Kept {
    proto::TaskResults message;
    std::vector<proto::Run> open;  ///< parts of its run that are not recorded
  };
  void cut(Answer answer, std::vector<Answer>& out) const;
  void keep(const proto::TaskResults& message);
  void forget_ready(proto::SessionUid uid, const proto::Run& run);

  std::vector<Answer> ready_;
  std::map<std::pair<proto::SessionUid, proto::TaskId>, Kept> kept_;
  uint64_t bytes_ = 0;
};

}  // namespace flame::executor

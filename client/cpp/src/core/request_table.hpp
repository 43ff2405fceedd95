// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Requests that wait for their answer: resent on a new link where that is safe, repeated while the
// broker says "later", and given up at their deadline.

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "client/cpp/src/core/events.hpp"
#include "proto/time.hpp"

namespace flame::client {

class RequestTable {
 public:
  /// A request's number on the wire, unique within the client.
  using Id = uint64_t;

  Id add(const Request& request, proto::Now now);

  /// The message of a request that is to be sent now; it counts as sent.
  std::vector<proto::Message> due(proto::Now now);
  /// The next time-out or, where the link is up, sending.
  int64_t deadline(bool up) const;

  /// The ticket of the answered request, which is gone then.
  std::optional<Ticket> answer(Id id);
  /// True if the request was kept and is repeated later; else the caller answers it with the error.
  bool retry_later(const proto::ErrorReply& reply, proto::Now now);

  /// The broker has taken them and cannot record them for now: what a time-out will say. kOk: it
  /// can again. True if any waits.
  bool held_up(const proto::Error& reason);

  using Failed = std::vector<std::pair<Ticket, proto::Error>>;
  /// Removes those whose deadline passed. `link_down` is their error while there is no link, else
  /// kOk.
  Failed expire(proto::Now now, const proto::Error& link_down);
  /// Removes those that were sent and must not be sent again; the others are due on the next link.
  Failed link_lost();
  Failed fail_all(const proto::Error& error);

 private:
  struct Pending {
    Request request;
    int64_t deadline_us;
    int64_t due_us;  ///< kNever: sent, waits for its answer
    bool ever_sent = false;
    proto::Error last;  ///< what "later" was about
  };
  std::map<Id, Pending> pending_;
  Id next_ = 1;
};

}  // namespace flame::client

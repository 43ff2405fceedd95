// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What happens to a client and what it does about it, as values: the shell feeds events to
// ClientCore and performs the actions in their order.

#include <cstdint>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "proto/codec.hpp"
#include "proto/messages.hpp"
#include "proto/time.hpp"

namespace flame::client {

/// Chosen by the caller; returned with the answer. 0 is the core's own.
using Ticket = uint64_t;

inline constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

/// How long what was refused for now waits before it is sent again: what the broker says, else
/// this.
inline constexpr uint32_t kRetryMsDefault = 50;
inline int64_t retry_us(const proto::ErrorReply& reply) {
  uint32_t wait_ms = reply.retry_after_ms > 0 ? reply.retry_after_ms : kRetryMsDefault;
  return int64_t{wait_ms} * proto::kUsPerMs;
}

// ---- events
// ---------------------------------------------------------------------------------------------

/// A deadline passed (or may have: it does no harm).
struct Tick {};

struct Received {
  proto::Decoded decoded;
};

/// The socket took a message from nobody's hand: nothing is connected. Later sends of the batch are
/// dropped.
struct SendFailed {};

/// A message with a `request` field, which the core fills in.
struct Request {
  Ticket ticket = 0;
  proto::Message message;
  int64_t timeout_us = kNever;
  /// May be sent again on a new link without asking.
  bool repeatable = true;
  /// CreateSession only: the name was drawn by us, so finding it taken after a resend means that it
  /// is ours.
  bool drawn_name = false;
};

/// From now on submits and results of this session are handled.
struct Attach {
  proto::SessionInfo info;
};
struct Detach {
  proto::SessionUid uid = 0;
};

/// One run. Only while has_room(uid), or after the session is gone: then it fails.
struct SubmitRun {
  proto::SessionUid uid = 0;
  Ticket ticket = 0;
  uint64_t count = 0;
  uint64_t sent_us = 0;
  proto::Bytes payload;
};

/// Results from `index` on. `lineage` "": the index is from now.
struct WatchFrom {
  proto::SessionUid uid = 0;
  uint64_t index = 0;
  std::string reader;
  std::string lineage;
};

/// Everything delivered below `index` has been used.
struct Consumed {
  proto::SessionUid uid = 0;
  uint64_t index = 0;
};

/// Say goodbye; nothing follows.
struct Leave {};

using Event = std::variant<Tick, Received, SendFailed, Request, Attach, Detach, SubmitRun,
                           WatchFrom, Consumed, Leave>;

// ---- actions
// --------------------------------------------------------------------------------------------

/// Close the socket if there is one, make a new one and connect it.
struct OpenSocket {};

struct Send {
  proto::Envelope envelope;
  proto::Message message;
};

struct Answer {
  Ticket ticket = 0;
  proto::Result<proto::Message> result;
};

struct Submitted {
  proto::SessionUid uid = 0;
  Ticket ticket = 0;
  proto::Run run;
  proto::Durability level = proto::Durability::kStored;
};
struct SubmitFailed {
  proto::SessionUid uid = 0;
  Ticket ticket = 0;
  proto::Error error;
};

/// The next entry of `done`. Each index comes once and in order (until a watch moves back).
struct Deliver {
  proto::Results results;
};
/// The entries [from, to) are not kept any more.
struct Trimmed {
  proto::SessionUid uid = 0;
  uint64_t from = 0;
  uint64_t to = 0;
};
struct WatchFailed {
  proto::SessionUid uid = 0;
  proto::Error error;
};

/// The session's state as the broker has it: after a change and after every reconnect.
struct Changed {
  proto::SessionChanged change;
};

/// What running tasks of a watched session said of themselves.
struct Progressed {
  proto::Progress progress;
};

/// Tasks that were acknowledged and that the broker does not know any more. Their ids may be given
/// out again.
struct Lost {
  proto::SessionUid uid = 0;
  proto::Run run;
};

struct LinkUp {
  proto::Welcome welcome;
};
struct LinkDown {
  std::string reason;
};
/// The broker refuses us for good: other version, other cluster.
struct Rejected {
  proto::Error error;
};

/// Nothing goes on for a second now, and why: no link, or everything is refused for now. Once for
/// each reason; it is tried again all the same.
struct Waiting {
  proto::Error reason;
};

using Action =
    std::variant<OpenSocket, Send, Answer, Submitted, SubmitFailed, Deliver, Trimmed, WatchFailed,
                 Changed, Progressed, Lost, LinkUp, LinkDown, Rejected, Waiting>;
using Actions = std::vector<Action>;

}  // namespace flame::client

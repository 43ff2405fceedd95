// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The submits of one session that are not answered yet: numbered 1, 2, 3 ... and kept until the
// answer, so that a broken link, a busy broker or a lost store costs a resend and never a task.
//
//   add -> [waits] -> due -> [in flight] -> acknowledge | refuse for good -> gone
//                      ^          | busy: hold, then again from the first
//                      +----------+ gap: the one before it was refused; again with it

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "client/cpp/src/core/events.hpp"
#include "proto/time.hpp"

namespace flame::client {

class SubmitWindow {
 public:
  explicit SubmitWindow(uint64_t last_number = 0)
      : last_number_(last_number), acknowledged_(last_number) {}

  bool has_room() const { return entries_.size() < proto::kSubmitsUnackedMax; }
  bool empty() const { return entries_.empty(); }
  size_t size() const { return entries_.size(); }

  void add(const SubmitRun& run);

  /// What is to be sent now, in order; it counts as in flight then.
  std::vector<proto::Submit> due(proto::Now now);
  /// When due() has something again, or kNever.
  int64_t deadline() const;

  /// The ticket of the answered submit; nothing if it is not waited for (a repeated answer).
  std::optional<Ticket> acknowledge(const proto::SubmitAckItem& item);

  enum class Refusal : uint8_t {
    kIgnored,  ///< an answer to an older sending; a newer one is on its way
    kRetry,    ///< kept; due() returns it later
    kFinal,    ///< not kept: the ticket failed
    kUnknown,  ///< the broker misses something before the first one we hold: ask what it has
  };
  struct Refused {
    Refusal kind = Refusal::kIgnored;
    Ticket ticket = 0;
  };
  /// Of a gap, `reply.submit` is the number the broker expected; of all else, the refused one.
  Refused refuse(const proto::ErrorReply& reply, proto::Now now);

  /// Nothing is in flight any more: the link broke.
  void link_lost();

  /// The broker says it has accepted `last_submit`. Acknowledged runs above it are lost (returned),
  /// and what is held is numbered anew behind it.
  std::vector<proto::Run> resume(uint64_t last_submit);

  /// Empties the window: the session is gone.
  std::vector<Ticket> take_all();

 private:
  struct Entry {
    uint64_t number;
    SubmitRun run;
    uint32_t in_flight;  ///< sendings without an answer on this link
  };
  Refused refuse_gap(uint64_t expected, proto::Now now);
  std::deque<Entry>::iterator find(uint64_t number);
  /// An answer to the earliest unanswered sending of this number came.
  void answered(uint64_t number);

  std::deque<Entry> entries_;
  /// Numbers as they were sent on this link, without those answered. The broker answers refusals in
  /// this order, and a gap names the number it expected, not the one it refused: this tells which
  /// that was.
  std::deque<uint64_t> sendings_;
  uint64_t last_number_;
  uint64_t acknowledged_;  ///< the highest number answered for good
  int64_t hold_until_us_ = 0;
  /// The last acknowledged ones, to name what a store lost. Bounded: older ones are long on disk.
  std::deque<std::pair<uint64_t, proto::Run>> history_;
};

}  // namespace flame::client

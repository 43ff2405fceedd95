// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Both ends of a link number what they send and check what they receive: a successful zmq_send
// means nothing.

#include <cstdint>

#include "proto/messages.hpp"

namespace flame::proto {

class Link {
 public:
  enum class Verdict : uint8_t {
    kAccept,
    kDuplicate,  ///< seen before: drop it
    kGap,        ///< something before it was lost: resync
    kForeign,    ///< another link, or none yet: resync (broker) or drop (the connecting side)
  };

  Link() = default;
  explicit Link(uint32_t id) : id_(id) {}

  uint32_t id() const { return id_; }
  /// The envelope of the next message to send.
  Envelope next() { return {id_, ++sent_}; }
  /// Judges a received envelope; only kAccept moves the counter.
  Verdict receive(const Envelope& envelope) {
    if (id_ == 0 || envelope.link != id_) return Verdict::kForeign;
    if (envelope.sequence <= received_) return Verdict::kDuplicate;
    if (envelope.sequence != received_ + 1) return Verdict::kGap;
    received_++;
    return Verdict::kAccept;
  }

  /// The number of the last accepted message.
  uint64_t received() const { return received_; }

 private:
  uint32_t id_ = 0;
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
};

}  // namespace flame::proto

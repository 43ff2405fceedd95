// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The link to the broker as seen by time: when to say hello, when to beat, when to give the socket
// up.
//
//   waiting ──hello──▶ greeting ──Welcome──▶ up
//      ▲                  │ refused, silent    │ gap, Resync, send refused: at once
//      └──────────────────┴────────────────────┘ lease without a word: with a new socket

#include <algorithm>
#include <cstdint>

#include "proto/link.hpp"
#include "proto/messages.hpp"
#include "proto/time.hpp"
#include "runtime/backoff.hpp"

namespace flame::executor {

class BrokerLink {
 public:
  BrokerLink(uint32_t first_link, const proto::Now& now);

  enum class Heard : uint8_t {
    kHandle,  ///< it is the next one of this link
    kDrop,    ///< of another link, seen before, or a gap: the link begins anew
  };
  Heard hear(const proto::Envelope& envelope, proto::MessageType type, const proto::Now& now);

  void welcome(uint64_t beat_ms, uint64_t lease_ms, const proto::Now& now);
  /// Without a binding the broker expects beats no more often than this, and sends none itself.
  void idle_beat(uint64_t idle_ms, const proto::Now& now);
  /// Has a slot of ours a session?
  void set_idle(bool idle, const proto::Now& now);
  /// The hello was refused; try again after a while.
  void refused(uint32_t retry_after_ms, const proto::Now& now);
  /// Nobody is connected, or messages of this link were lost.
  void lost(const proto::Now& now);

  struct Due {
    bool reconnect = false;
    bool hello = false;
    bool beat = false;
  };
  /// What is due now; counts as done. `hello` begins a new link: next() belongs to it.
  Due due(const proto::Now& now);
  int64_t next_deadline_us() const;

  bool up() const { return state_ == State::kUp; }
  /// A hello is on its way: what it says counts until its welcome.
  bool greeting() const { return state_ == State::kGreeting; }
  proto::Envelope next() { return link_.next(); }

 private:
  enum class State : uint8_t { kWaiting, kGreeting, kUp };

  State state_ = State::kWaiting;
  uint32_t last_link_;
  proto::Link link_;
  runtime::Backoff backoff_;
  int64_t hello_at_us_;
  int64_t heard_us_;  ///< when the broker was last known to be there, or the socket was made
  int64_t beat_at_us_ = 0;
  int64_t turn_us_;             ///< the last call of due()
  int64_t beat_us_, lease_us_;  ///< as the welcome said
  int64_t idle_beat_us_ = 0;
  bool idle_ = true;

  int64_t beat_us() const { return idle_ ? std::max(beat_us_, idle_beat_us_) : beat_us_; }
  int64_t lease_us() const { return std::max(lease_us_, 3 * beat_us()); }
};

}  // namespace flame::executor

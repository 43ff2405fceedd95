// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "executor/core/broker_link.hpp"

#include <algorithm>

#include "proto/limits.hpp"

namespace flame::executor {

namespace {
// A broker on the same machine answers within the first; a hundred executors must not press a
// starting one.
constexpr int64_t kHelloFirstUs = 10'000;
constexpr int64_t kHelloMostUs = 500'000;
/// After this a sent hello counts as lost.
constexpr int64_t kHelloAnswerUs = 1'000'000;
/// A broker may ask for no rarer ones: an hour of silence is no link.
constexpr uint64_t kIdleBeatMostMs = 3'600'000;

bool wants_hello(proto::MessageType type) {
  return type == proto::MessageType::kResync || type == proto::MessageType::kError;
}
}  // namespace

BrokerLink::BrokerLink(uint32_t first_link, const proto::Now& now)
    : last_link_(first_link),
      backoff_(kHelloFirstUs, kHelloMostUs),
      hello_at_us_(now.mono_us),
      heard_us_(now.mono_us),
      turn_us_(now.mono_us),
      beat_us_(static_cast<int64_t>(proto::kBeatMs) * 1000),
      lease_us_(static_cast<int64_t>(proto::kLeaseMs) * 1000) {}

BrokerLink::Heard BrokerLink::hear(const proto::Envelope& envelope, proto::MessageType type,
                                   const proto::Now& now) {
  // A broker that does not know the link cannot number its answer.
  if (wants_hello(type) && (envelope.link == link_.id() || envelope.link == 0) &&
      envelope.sequence == 0 && state_ != State::kWaiting) {
    return Heard::kHandle;
  }
  switch (link_.receive(envelope)) {
    case proto::Link::Verdict::kAccept:
      heard_us_ = now.mono_us;
      return Heard::kHandle;
    case proto::Link::Verdict::kGap:
      lost(now);
      return Heard::kDrop;
    case proto::Link::Verdict::kDuplicate:
    case proto::Link::Verdict::kForeign:
      return Heard::kDrop;
  }
  return Heard::kDrop;
}

void BrokerLink::welcome(uint64_t beat_ms, uint64_t lease_ms, const proto::Now& now) {
  // The shortest that a broker may ask for: below, beats would be all we do.
  beat_us_ = static_cast<int64_t>(std::max<uint64_t>(beat_ms, 10)) * 1000;
  lease_us_ = static_cast<int64_t>(lease_ms) * 1000;
  idle_beat_us_ = 0;
  state_ = State::kUp;
  heard_us_ = now.mono_us;
  beat_at_us_ = now.mono_us + beat_us_;
  backoff_.reset();
}

void BrokerLink::idle_beat(uint64_t idle_ms, const proto::Now& now) {
  idle_beat_us_ = static_cast<int64_t>(std::min<uint64_t>(idle_ms, kIdleBeatMostMs)) * 1000;
  beat_at_us_ = std::min(beat_at_us_, now.mono_us + beat_us());
}

void BrokerLink::set_idle(bool idle, const proto::Now& now) {
  if (idle == idle_) return;
  idle_ = idle;
  beat_at_us_ = std::min(beat_at_us_, now.mono_us + beat_us());
}

void BrokerLink::refused(uint32_t retry_after_ms, const proto::Now& now) {
  state_ = State::kWaiting;
  // It is alive, so the socket is good.
  heard_us_ = now.mono_us;
  hello_at_us_ = now.mono_us +
                 std::max<int64_t>(backoff_.next_us(), static_cast<int64_t>(retry_after_ms) * 1000);
}

void BrokerLink::lost(const proto::Now& now) {
  if (state_ == State::kWaiting) return;
  state_ = State::kWaiting;
  hello_at_us_ = now.mono_us + backoff_.next_us();
}

BrokerLink::Due BrokerLink::due(const proto::Now& now) {
  // If this process itself stood still, the broker's silence proves nothing.
  int64_t gap = now.mono_us - turn_us_;
  if (gap > 2 * beat_us()) heard_us_ += gap;
  turn_us_ = now.mono_us;

  Due due;
  if (now.mono_us - heard_us_ >= lease_us()) {
    due.reconnect = true;
    heard_us_ = now.mono_us;
    lost(now);
  }
  if (state_ != State::kUp && now.mono_us >= hello_at_us_) {
    due.hello = true;
    state_ = State::kGreeting;
    if (++last_link_ == 0) ++last_link_;
    link_ = proto::Link(last_link_);
    hello_at_us_ = now.mono_us + kHelloAnswerUs;
  }
  if (state_ == State::kUp && now.mono_us >= beat_at_us_) {
    due.beat = true;
    beat_at_us_ = now.mono_us + beat_us();
  }
  return due;
}

int64_t BrokerLink::next_deadline_us() const {
  int64_t next = state_ == State::kUp ? beat_at_us_ : hello_at_us_;
  return std::min(next, heard_us_ + lease_us());
}

}  // namespace flame::executor

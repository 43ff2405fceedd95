// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The only encoder and decoder of the wire, and the only user of msgpack. Nothing here asserts on
// input: whatever arrives becomes a message or an Error that says what is wrong with it.

#include <string>
#include <string_view>

#include "proto/messages.hpp"

namespace flame::proto {

struct Decoded {
  Envelope envelope;
  Message message;
};

/// The header frame of a message. Its payload, if it has one, is the second frame and is not copied
/// here.
std::string encode(const Envelope& envelope, const Message& message);

/// Header and payload frame to message. `payload` becomes the message's without a copy; a payload
/// where the message has none is an error. Refuses another protocol major (kVersion) and everything
/// above the limits.
Result<Decoded> decode(std::string_view header, const Bytes& payload);

/// Payload frame of a message, or null if its kind has none. An empty payload is still sent as a
/// frame.
const Bytes* payload_of(const Message& message);

/// Values by themselves: entries of flame:apps, flame:executors, flame:demand.
std::string encode_value(const Value& value);
Result<Value> decode_value(std::string_view bytes);

// What stands in flame:{S}:output:K beside the outputs: [executor, attempt, base_ms, exceptions,
// times, outputs as array of bin, crc32c of all bytes before it].
struct OutputHead {
  std::string executor;
  Attempt attempt = 1;
  uint64_t base_ms = 0;
  std::vector<Exception> exceptions;
  std::vector<FrameTime> times;
  template <class F>
  auto fields(F&& f) {
    return f(executor, attempt, base_ms, exceptions, times);
  }
  friend bool operator==(const OutputHead&, const OutputHead&) = default;
};

/// What is stored before the output elements, up to and including their array header.
std::string encode_output_head(const OutputHead& head, uint64_t count);
/// What is stored after them: the checksum as msgpack uint32.
std::string encode_output_tail(uint32_t crc32c);

struct StoredOutput {
  OutputHead head;
  std::string_view elements;  ///< a part of the bytes given to decode
};
/// Checks the checksum and that there are exactly `count` outputs.
Result<StoredOutput> decode_output(std::string_view bytes, uint64_t count);

/// The elements of a stored input run (an array of bin): the bytes after its array header.
Result<std::string_view> decode_input(std::string_view bytes, uint64_t count);

// flame:{S}:submits: what the broker remembers of one client's submits to one session.
struct SubmitRecord {
  uint64_t number = 0;
  Run run;
  Code refused = Code::kOk;  ///< a final refusal is the answer to every resend
  template <class F>
  auto fields(F&& f) {
    return f(number, run, refused);
  }
  friend bool operator==(const SubmitRecord&, const SubmitRecord&) = default;
};
struct SubmitHistory {
  uint64_t used_ms = 0;
  std::vector<SubmitRecord> last;  ///< at most kSubmitsUnackedMax, oldest first
  template <class F>
  auto fields(F&& f) {
    return f(used_ms, last);
  }
  friend bool operator==(const SubmitHistory&, const SubmitHistory&) = default;
};
std::string encode_submits(const SubmitHistory& history);
Result<SubmitHistory> decode_submits(std::string_view bytes);

}  // namespace flame::proto

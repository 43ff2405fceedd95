// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What an executor and a native service say to each other over a connected unix stream socket. The
// service inherits its end as the descriptor named in FLAME_INSTANCE_FD; FLAME_SHIM is `native`.
// Integers are little endian; a text is a u32 length and its bytes; elements are as on the wire
// (proto/elements.hpp): msgpack bins one after the other.
//
//   u32 size | u8 type | body          size counts what follows it: type and body
//
//   executor -> service                       service -> executor
//   1 ENTER   text session                    1 ENTERED  u8 ok, text message
//             text application
//             text common data
//   2 INVOKE  u64 first task id               2 RESULTS  u64 first task id, u32 count
//             u32 count, u32 attempt                     u64 us, u32 failures
//             count elements                             failures: u32 index, text reason
//                                                        count elements, empty if failed
//   3 LEAVE                                   3 LEFT
//   4 NEXT    as INVOKE                       5 PROGRESS u64 task id, u8 percent, text
//
// PROGRESS may come at any time between INVOKE and the task's RESULTS; the last one counts, and is
// passed on at most ten times a second.
//
// NEXT is a frame that waits in the socket while another runs, so that the service need not wait
// for one. It comes only to a service whose `ok` has bit 1 (2) set beside bit 0: it promises to
// write all earlier results before it begins such a frame. What is behind an unanswered frame then
// was not begun, and is not charged if the service dies.
//
//   executor         service
//      │── ENTER ──────▶│  once for each session
//      │◀───── ENTERED ─│
//      │── INVOKE 1-3 ─▶│  one or more frames may wait in the socket
//      │◀─ RESULTS 1-2 ─│  a prefix of the oldest unanswered frame, in order;
//      │◀─ RESULTS 3 ───│  `index` of a failure counts from this message's first
//      │── LEAVE ──────▶│
//      │◀──────── LEFT ─│  then ENTER again, or SIGTERM
//
// `us` is how long these tasks took in the service, without the time until somebody woke it or us:
// what the size of the next frame follows from. 0: not known; then the executor's clock has to do.
//
// Beside them, for a service that wants to know: a pipe, as the descriptor named in
// FLAME_CANCEL_FD (reads never block), brings a record of u64 first task id, u64 count for tasks
// that it has and that are cancelled. Their answers are expected still, and thrown away; a service
// that is in such a task 5 s later is killed. Records of an earlier session are in the pipe before
// ENTER comes.
//
// A service whose end of the socket reads end-of-file should exit: the executor is gone.

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "proto/limits.hpp"

namespace flame::shims::native {

inline constexpr int kInstanceFd = 3;
inline constexpr const char* kInstanceFdName = "FLAME_INSTANCE_FD";
inline constexpr int kCancelFd = 4;
inline constexpr const char* kCancelFdName = "FLAME_CANCEL_FD";
inline constexpr size_t kCancelRecordBytes = 16;

enum class Type : uint8_t {
  kEnter = 1,  ///< answered by kEnter as ENTERED
  kInvoke = 2,
  kLeave = 3,
  kNext = 4,      ///< answered by kResults
  kProgress = 5,  ///< service -> executor
};
inline constexpr Type kEntered = Type::kEnter;
inline constexpr Type kResults = Type::kInvoke;
inline constexpr Type kLeft = Type::kLeave;

/// Bits of ENTERED's `ok`.
inline constexpr uint8_t kOk = 1, kTakesNext = 2;

inline constexpr size_t kSizeBytes = 4;
inline constexpr size_t kHeadBytes = kSizeBytes + 1;
/// Above this a message is not received as a whole.
inline constexpr uint64_t kMessageBytesMax = proto::kMessageBytesMax;

static_assert(std::endian::native == std::endian::little,
              "the helpers below copy integers as they are");

template <class Number>
void put(std::string& out, Number value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}
inline void put_text(std::string& out, std::string_view text) {
  put(out, static_cast<uint32_t>(text.size()));
  out += text;
}
/// The first five bytes of a message whose body has `body_size` bytes.
inline void put_head(std::string& out, Type type, size_t body_size) {
  put(out, static_cast<uint32_t>(body_size + 1));
  out += static_cast<char>(type);
}

/// Takes integers and texts off the front; `ok` turns false at the first that does not fit.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  template <class Number>
  Number number() {
    Number value{};
    if (rest_.size() < sizeof value) {
      ok_ = false;
      return value;
    }
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_.remove_prefix(sizeof value);
    return value;
  }
  std::string_view text() {
    auto size = number<uint32_t>();
    if (size > rest_.size()) ok_ = false;
    if (!ok_) return {};
    auto text = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return text;
  }
  std::string_view rest() const { return rest_; }
  bool ok() const { return ok_; }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace flame::shims::native

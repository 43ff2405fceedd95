// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What is said: one struct per message, in the order of a conversation: here what both sides of
// every link say, beside it what clients and executors do. docs/protocol.md draws it; golden
// vectors in proto/vectors/ pin the bytes.
//
// A message is one or two ZeroMQ frames: the header, a msgpack array
//     [protocol major, type, link, sequence, fields in the order of fields()...]
// and, where the struct has a `payload`, a second frame. Nested structs are arrays of their fields.
//
// Links. The connecting side draws a `link` number for each hello; both sides then number their
// messages on it 1, 2, 3 ... A receiver drops a duplicate, and answers a gap or an unknown link
// with Resync; the connecting side then says hello on a new link and states absolutes. A beat is a
// numbered message like any other, so it shows the loss of the last one.

#include <cstdint>
#include <string>
#include <variant>

#include "proto/client_messages.hpp"
#include "proto/executor_messages.hpp"

namespace flame::proto {

// ---- both ways
// ------------------------------------------------------------------------------------------

/// A request failed, or (request 0) something that had no request. `submit` names the refused
/// submit.
struct ErrorReply {
  static constexpr auto kType = MessageType::kError;
  uint64_t request = 0;
  Code code = Code::kOk;
  std::string message;
  uint32_t retry_after_ms = 0;
  SessionUid uid = 0;
  uint64_t submit = 0;
  template <class F>
  auto fields(F&& f) {
    return f(request, code, message, retry_after_ms, uid, submit);
  }
  friend bool operator==(const ErrorReply&, const ErrorReply&) = default;
};

/// Sent by the thread that does the work, every beat_ms, in both directions; between a broker and
/// an executor without a binding every `idle_ms` where the broker's last one said so. `status`: an
/// executor's busy slots; a broker's 1 while the store answers, else 0.
struct Beat {
  static constexpr auto kType = MessageType::kBeat;
  uint64_t status = 0;
  uint64_t idle_ms = 0;  ///< 0: as beat_ms
  uint64_t heard = 0;    ///< a client's: the broker's last message that it has received
  template <class F>
  auto fields(F&& f) {
    return f(status, idle_ms, heard);
  }
  friend bool operator==(const Beat&, const Beat&) = default;
};

/// Broker -> client, executor: messages of this link were lost, or the link is unknown. Answer: a
/// new hello.
struct Resync {
  static constexpr auto kType = MessageType::kResync;
  std::string reason;
  template <class F>
  auto fields(F&& f) {
    return f(reason);
  }
  friend bool operator==(const Resync&, const Resync&) = default;
};

/// The sender leaves: a client's subscriptions end; an executor has nothing in hand.
struct Bye {
  static constexpr auto kType = MessageType::kBye;
  std::string reason;
  template <class F>
  auto fields(F&& f) {
    return f(reason);
  }
  friend bool operator==(const Bye&, const Bye&) = default;
};

// ---- all
// ------------------------------------------------------------------------------------------------

using Message =
    std::variant<ErrorReply, Beat, Resync, Bye, ClientHello, CreateSession, OpenSession, Submit,
                 Watch, ResultsAck, CloseSession, DeleteSession, WaitSession, ListKind, View,
                 RegisterApplication, UnregisterApplication, Recover, Welcome, Ok, SessionInfo,
                 SubmitAck, Watching, Results, Listing, SessionChanged, ExecutorHello, Window,
                 TaskResults, Returned, Bound, Draining, ExecutorWelcome, SessionContext, Bind,
                 Dispatch, Recorded, TakeBack, CancelRuns, CancelTasks, Cancelled, GetTasks, Tasks,
                 UpdateApplication, UpdateCommon, GetCommon, CommonData, WatchTask, Progress,
                 TaskProgress, GetLogs, Logs, ReadOutput, Output, HoldExecutor, PickVictims, Drain>;

inline MessageType type_of(const Message& message) {
  return std::visit([](const auto& m) { return std::decay_t<decltype(m)>::kType; }, message);
}
std::string_view name_of(MessageType type);

}  // namespace flame::proto

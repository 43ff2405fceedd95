// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What goes into the executor's core and what comes out. Both are values: a test compares lists, a
// simulation feeds them back.

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "proto/application.hpp"
#include "proto/ids.hpp"
#include "proto/messages.hpp"
#include "shims/shim.hpp"

namespace flame::executor {

using shims::InstanceEvent;
using shims::InstanceId;

struct Config {
  std::string id;
  std::string nonce;        ///< drawn at process start
  std::string cluster;      ///< the broker must be of this one; "" for any
  std::string application;  ///< serves only this one; "" for all
  std::string address;      ///< shown
  std::string provider;     ///< see proto::ExecutorHello
  std::string version;
  uint64_t slots = 1;
  uint32_t first_link = 1;   ///< random; later links count on from it
  int64_t idle_exit_us = 0;  ///< 0: never
};

// ---- events
// -------------------------------------------------------------------------------------------------

struct Received {
  proto::Envelope envelope;
  proto::Message message;
};
/// A Send of this turn did not reach the socket: nobody is connected.
struct SendRefused {};
/// SIGTERM or SIGINT; the second one ends everything at once.
struct Terminate {};
/// Whoever started it has no more use for it: it leaves if nothing is in hand, else it stays.
struct LeaveIfIdle {};
/// The answer to ReadLogs.
struct LogsRead {
  uint64_t request = 0;
  proto::Bytes payload;  ///< as of proto::Logs
};
/// All that was ready has been handled: time to act. Also the only event that looks at deadlines.
struct TurnEnded {};

using Event =
    std::variant<Received, SendRefused, InstanceEvent, Terminate, LeaveIfIdle, LogsRead, TurnEnded>;

// ---- actions
// ------------------------------------------------------------------------------------------------

struct Send {
  proto::Envelope envelope;
  proto::Message message;
};
/// Close the socket and open a new one: a DEALER can fall silent for ever.
struct Reconnect {
  friend bool operator==(const Reconnect&, const Reconnect&) = default;
};
/// Start a process. If that fails the answer is Exited, as if it had ended at once.
struct Start {
  InstanceId instance = 0;
  proto::Application application;
  friend bool operator==(const Start&, const Start&) = default;
};
struct Enter {
  InstanceId instance = 0;
  shims::EnterSession session;
  friend bool operator==(const Enter&, const Enter&) = default;
};
struct Invoke {
  InstanceId instance = 0;
  std::vector<shims::Frame> frames;
  friend bool operator==(const Invoke&, const Invoke&) = default;
};
/// Tell the service that these tasks, which it has, are not wanted any more.
struct Cancel {
  InstanceId instance = 0;
  proto::Run run;
  friend bool operator==(const Cancel&, const Cancel&) = default;
};
struct Leave {
  InstanceId instance = 0;
  friend bool operator==(const Leave&, const Leave&) = default;
};
/// SIGTERM; Kill follows if it does not end.
struct Stop {
  InstanceId instance = 0;
  friend bool operator==(const Stop&, const Stop&) = default;
};
struct Kill {
  InstanceId instance = 0;
  friend bool operator==(const Kill&, const Kill&) = default;
};
/// Gather what instances wrote in this session, ended ones too. Answered by LogsRead.
struct ReadLogs {
  uint64_t request = 0;
  proto::SessionUid uid = 0;
  proto::TaskId task = 0;
  friend bool operator==(const ReadLogs&, const ReadLogs&) = default;
};
/// For the operator's log.
struct Note {
  bool warning = false;
  std::string text;
  friend bool operator==(const Note&, const Note&) = default;
};
/// The process ends; nothing is in hand (code 0) or it was told twice (code 1).
struct Exit {
  int code = 0;
  friend bool operator==(const Exit&, const Exit&) = default;
};

using Action = std::variant<Send, Reconnect, Start, Enter, Invoke, Cancel, Leave, Stop, Kill,
                            ReadLogs, Note, Exit>;
using Actions = std::vector<Action>;

}  // namespace flame::executor

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// How an executor talks to one instance of a service. A shim is passive: it has no clock and no
// opinion. It does what it is told, watches its descriptors in the executor's loop, and appends
// what happened as values to the queue it was given. Nothing here blocks. Time-outs and restarts
// are decided in executor/core.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "proto/application.hpp"
#include "proto/bytes.hpp"
#include "proto/error.hpp"
#include "proto/ids.hpp"
#include "proto/run.hpp"
#include "runtime/event_loop.hpp"
#include "shims/guard.hpp"
#include "shims/output_log.hpp"

namespace flame::shims {

class GrpcClient;
}
namespace flame::runtime {
class HttpClient;
}
namespace flame::shims {

// ---- what a shim is told
// ------------------------------------------------------------------------------------

struct EnterSession {
  std::string session;
  std::string application;
  proto::Bytes common;
  proto::SessionUid uid = 0;
  friend bool operator==(const EnterSession&, const EnterSession&) = default;
};

/// Contiguous tasks of one session with one attempt number; `elements` as in proto/elements.hpp.
struct Frame {
  proto::TaskId first = 0;
  uint32_t count = 0;
  proto::Attempt attempt = 1;
  proto::Bytes elements;
  bool next = false;  ///< begun only when all earlier results are written; see Entered
  friend bool operator==(const Frame&, const Frame&) = default;
};

// ---- what a shim yields
// -------------------------------------------------------------------------------------

struct Entered {
  bool ok = true;
  std::string message;
  bool takes_next = false;  ///< keeps the promise of Frame::next
  friend bool operator==(const Entered&, const Entered&) = default;
};

struct Failure {
  uint32_t index = 0;  ///< in these results
  proto::Code code = proto::Code::kTaskFailed;
  std::string reason;
  friend bool operator==(const Failure&, const Failure&) = default;
};

/// Of a task whose output is above kPayloadBytesMax.
Failure output_too_large();

/// Results of a prefix of the oldest unanswered frame, checked: the range is the expected one,
/// `elements` are exactly `count` elements within the payload limit, failures have rising indices.
struct Results {
  proto::TaskId first = 0;
  uint32_t count = 0;
  std::vector<Failure> failures;
  proto::Bytes elements;
  uint64_t service_us = 0;  ///< time that the tasks took by the service's own clock; 0: not known
  friend bool operator==(const Results&, const Results&) = default;
};

/// A task that is in hand says how far it is.
struct Progressed {
  proto::TaskId task = 0;
  uint64_t percent = 0;
  std::string text;
  friend bool operator==(const Progressed&, const Progressed&) = default;
};

struct Left {
  friend bool operator==(const Left&, const Left&) = default;
};

/// The service is gone (or never came); the last event of a shim. `reason` has exit code or signal
/// and the tail of what it wrote to stderr.
struct Exited {
  std::string reason;
  friend bool operator==(const Exited&, const Exited&) = default;
};

using Event = std::variant<Entered, Results, Progressed, Left, Exited>;

using InstanceId = uint64_t;
struct InstanceEvent {
  InstanceId instance = 0;
  Event event;
  friend bool operator==(const InstanceEvent&, const InstanceEvent&) = default;
};
using Events = std::vector<InstanceEvent>;

// ---- the shim
// -----------------------------------------------------------------------------------------------

/// What to start, with everything looked up.
struct Launch {
  std::string path;  ///< of the executable
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> environment;  ///< all of it
  std::string directory;
  Guard* guard = nullptr;      ///< told of the process group; null: nobody
  std::string socket_parent;   ///< where a service's socket may get a folder
  GrpcClient* grpc = nullptr;  ///< null: this executor has none
  runtime::HttpClient* http = nullptr;
};

class Shim {
 public:
  /// Ends what still runs, at once.
  virtual ~Shim() = default;

  /// Answered by Entered, or Exited.
  virtual void enter(const EnterSession& session) = 0;
  /// Answered by Results, in order. Everything handed over counts as started.
  virtual void invoke(const std::vector<Frame>& frames) = 0;
  /// These tasks of what was handed over are not wanted any more: the service is told, and may end
  /// them early. They are answered by Results as ever.
  virtual void cancel(const proto::Run& run) = 0;
  /// Answered by Left; only between frames.
  virtual void leave() = 0;
  /// SIGTERM to the whole process group. Answered by Exited when it obeys.
  virtual void terminate() = 0;
  /// SIGKILL to the whole process group. Answered by Exited.
  virtual void kill() = 0;

  /// What its service wrote last.
  const OutputLog& log() const { return log_; }

 protected:
  OutputLog log_;
};

/// Starts an instance with the shim that the application names. `loop` and `events` outlive it.
proto::Result<std::unique_ptr<Shim>> make_shim(const proto::Application& application, Launch launch,
                                               InstanceId instance, runtime::EventLoop& loop,
                                               Events& events);

}  // namespace flame::shims

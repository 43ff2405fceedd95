// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// ROUTER and DEALER sockets with the settings that keep libzmq 4.3.4 honest; the only user of zmq.
// Never blocks. A socket is used by one thread.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "proto/bytes.hpp"
#include "proto/error.hpp"

namespace flame::runtime {

/// One per process; outlives its sockets.
class SocketContext {
 public:
  SocketContext();
  ~SocketContext();
  SocketContext(const SocketContext&) = delete;
  SocketContext& operator=(const SocketContext&) = delete;
  void* handle() const { return handle_; }

 private:
  void* handle_;
};

/// One message as it came. `frames` counts those after the identity; only 1 or 2 are a message of
/// ours.
struct Received {
  std::string peer;  ///< ROUTER only: a return address, never an identity to trust or show
  std::string header;
  proto::Bytes payload;
  size_t frames = 0;
};

enum class Sent : uint8_t {
  kYes,         ///< handed to libzmq; it may still be lost
  kFull,        ///< the peer's queue is full; with credit in force that is worth a log line
  kUnroutable,  ///< the peer is gone
};

class Socket {
 public:
  enum class Kind : uint8_t { kRouter, kDealer };

  Socket(SocketContext& context, Kind kind);
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  /// tcp://host:port (port * or 0 takes a free one), ipc://path.
  proto::Status bind(const std::string& endpoint);
  proto::Status connect(const std::string& endpoint);
  /// Where it is bound, with the port that was taken.
  std::string endpoint() const;

  bool receive(Received& out);
  /// `payload` null: one frame. A DEALER ignores `peer`.
  Sent send(const std::string& peer, const std::string& header, const proto::Bytes* payload);

  /// True if a message waits. Must be asked before sleeping on fd(), which is edge-triggered. Costs
  /// system calls only when something may have changed: after a use of the socket, or a woken().
  bool readable();
  int fd() const;
  /// fd() is ready: libzmq has something to do.
  void woken() { known_readable_.reset(); }

 private:
  void* handle_;
  int open_error_ = 0;  ///< why there is no handle
  Kind kind_;
  /// What libzmq said last. While nobody uses the socket it can only change together with fd().
  std::optional<bool> known_readable_;
};

}  // namespace flame::runtime

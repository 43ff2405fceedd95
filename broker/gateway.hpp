// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// One of the two ROUTER sockets and its translation: frames to events, Send actions to frames. The
// broker has one for clients and one for executors, so that one kind can never speak on the other's
// port.

#include <string>

#include "broker/core/core.hpp"
#include "runtime/event_loop.hpp"
#include "runtime/socket.hpp"

namespace flame::broker {

class Gateway {
 public:
  Gateway(runtime::SocketContext& context, runtime::EventLoop& loop, Port port, Core& core);
  ~Gateway();

  proto::Status listen(const std::string& endpoint);
  std::string endpoint() const { return socket_.endpoint(); }

  /// Called before sleeping: stop or go on reading.
  void set_reading(bool reading);
  /// True if nothing was left unread in this turn.
  bool drained() const { return drained_; }
  /// What is not read is not drained: beats wait in there too.
  void begin_turn() { drained_ = reading_; }
  void send(const Send& send, const proto::Now& now);

 private:
  void read();
  bool accepts() const;

  runtime::EventLoop& loop_;
  Port port_;
  Core& core_;
  runtime::Socket socket_;
  bool reading_ = true;
  bool drained_ = true;
};

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// control.sock: how a second `up`, `status` and `down` reach the supervisor of a data folder. One
// line of JSON there, one back. Only the user of the folder can connect (mode 0700).

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "client/flmctl/supervisor_messages.hpp"
#include "runtime/event_loop.hpp"

namespace flame::flmctl {

class ControlServer {
 public:
  using Answer = std::function<void(const ControlReply&)>;
  /// `handler` may call the answer at once or later; a client that left meanwhile gets nothing.
  ControlServer(runtime::EventLoop& loop,
                std::function<void(const ControlRequest&, Answer)> handler);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  /// The caller holds the folder's lock, so a socket file found there is a leftover.
  proto::Status listen(const std::string& path);
  /// No new clients from here on; those that wait still get their answers.
  void close_listener();

 private:
  struct Client {
    int fd;
    std::string received;
  };
  void on_connect();
  void on_readable(uint64_t id);
  void drop(uint64_t id);
  void answer(uint64_t id, const ControlReply& reply);

  runtime::EventLoop& loop_;
  std::function<void(const ControlRequest&, Answer)> handler_;
  int listener_ = -1;
  std::map<uint64_t, Client> clients_;
  uint64_t next_client_ = 1;
};

/// Asks and waits for the answer, however long that takes: `up` and `down` wait for processes.
/// kNoBroker if nobody listens or the supervisor ended before it answered.
proto::Result<ControlReply> ask_supervisor(const std::string& socket_path,
                                           const ControlRequest& request);

}  // namespace flame::flmctl

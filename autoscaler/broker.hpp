// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What the autoscaler asks the broker, as any client could: the SDK's pure core in our own loop. It
// connects when it has something to ask, and stays connected.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/cpp/src/core/client_core.hpp"
#include "runtime/event_loop.hpp"
#include "runtime/socket.hpp"

namespace flame::autoscaler {

class Broker {
 public:
  using Victims = std::function<void(proto::Result<std::vector<std::string>>)>;
  using Done = std::function<void(proto::Status)>;

  /// `endpoint`: that for clients. `cluster`: the one it must be of; "" for any.
  Broker(runtime::EventLoop& loop, std::string endpoint, std::string cluster);
  ~Broker();

  /// Drains those of `executors` that are idle and names them. Answered once, from the loop, within
  /// a few seconds; an error says that nobody was drained, or that it is not known.
  void pick_victims(const std::string& application, std::vector<std::string> executors,
                    Victims done);
  /// It rests: it finishes what it has and takes nothing new. Refused where an operator holds it.
  void rest(const std::string& executor, Done done);
  void uncordon(const std::string& executor, Done done);

 private:
  using Reply = std::function<void(proto::Result<proto::Message>)>;
  void hold(const std::string& executor, proto::Hold hold, Done done);
  void ask(proto::Message message, Reply reply);
  void feed(client::Event event);
  void perform(client::Action& action);
  void open();
  void read();
  void start_timer();

  runtime::EventLoop& loop_;
  std::string endpoint_, cluster_;
  client::ClientCore core_;
  bool refused_ = false;  ///< by the broker: the core asks it no more
  client::Actions actions_;
  bool performing_ = false;
  std::unique_ptr<runtime::SocketContext> context_;
  std::unique_ptr<runtime::Socket> socket_;
  uint32_t failed_link_ = 0;  ///< the rest of what was to go over it is dropped
  std::map<client::Ticket, Reply> replies_;
  client::Ticket last_ticket_ = 0;
  runtime::EventLoop::TimerId timer_ = 0;
};

}  // namespace flame::autoscaler

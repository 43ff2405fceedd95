// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A broker in a thread, without store and executors: it acknowledges submits at once and answers
// every task with its own input. It can be told to misbehave as networks and restarting brokers do.

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "proto/codec.hpp"
#include "proto/link.hpp"
#include "proto/messages.hpp"
#include "runtime/socket.hpp"

namespace flame::test {

class FakeBroker {
 public:
  /// Listens on a free loopback port, or on `endpoint`.
  explicit FakeBroker(const std::string& endpoint = "tcp://127.0.0.1:*");
  ~FakeBroker();

  const std::string& endpoint() const { return endpoint_; }

  // Any thread.
  std::atomic<int> drop_incoming{0};         ///< so many of the next messages from clients are lost
  std::atomic<int> drop_outgoing{0};         ///< so many of the next messages to clients are lost
  std::atomic<int> busy_submits{0};          ///< so many of the next submits are answered busy
  std::atomic<bool> forget_links{false};     ///< once: as after a restart
  std::atomic<bool> forget_sessions{false};  ///< once, with the links: as with another store
  std::atomic<bool> fail_tasks{false};       ///< every task fails instead
  std::atomic<uint64_t> submits{0};          ///< accepted ones

 private:
  struct Peer {
    proto::Link link;
    std::string client;
    std::map<proto::SessionUid, uint64_t> watched;  ///< session -> next index to send
  };
  struct Session {
    proto::SessionInfo info;
    std::map<std::string, std::vector<proto::SubmitAckItem>> accepted;  ///< per client
    std::vector<proto::Results> done;
  };

  void run();
  void handle(const std::string& from, proto::Decoded& decoded);
  void reply(const std::string& to, const proto::Message& message);
  void push_results(const std::string& to, Peer& peer);
  Session* find(const std::string& name);

  void on(const std::string& from, Peer& peer, proto::CreateSession& create);
  void on(const std::string& from, Peer& peer, proto::OpenSession& open);
  void on(const std::string& from, Peer& peer, proto::Submit& submit);
  void on(const std::string& from, Peer& peer, proto::Watch& watch);
  void on(const std::string& from, Peer& peer, proto::CloseSession& close);
  void on(const std::string& from, Peer& peer, proto::WaitSession& wait);
  void on(const std::string& from, Peer& peer, proto::ListKind& list);
  template <class Other>
  void on(const std::string&, Peer&, Other&) {}

  runtime::SocketContext context_;
  std::unique_ptr<runtime::Socket> socket_;
  std::string endpoint_;
  std::map<std::string, Peer> peers_;
  std::map<proto::SessionUid, Session> sessions_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace flame::test

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What stands behind flame::Client and keeps a session attached while somebody holds a handle of
// it.

#include <map>
#include <memory>
#include <mutex>

#include "client/cpp/src/connection.hpp"
#include "client/cpp/src/errors.hpp"
#include "client/cpp/src/session_impl.hpp"
#include "flame/client.hpp"

namespace flame::detail {

class ClientImpl {
 public:
  ClientImpl(std::unique_ptr<client::Connection> opened, std::chrono::milliseconds timeout)
      : connection(std::move(opened)),
        request_ms(static_cast<uint64_t>(std::max<int64_t>(0, timeout.count()))) {}

  /// A Client over a connection that exists: for the tools.
  static Client wrap(std::shared_ptr<ClientImpl> impl) { return Client(std::move(impl)); }

  template <class Reply>
  Reply ask(proto::Message message) {
    return value_or_raise(connection->ask<Reply>(std::move(message), request_ms));
  }
  /// What is answered when something happens: as long as the caller likes.
  template <class Reply>
  Reply ask(proto::Message message, std::chrono::milliseconds time) {
    auto ms = static_cast<uint64_t>(std::max<int64_t>(0, time.count()));
    return value_or_raise(connection->ask<Reply>(std::move(message), ms));
  }

  std::unique_ptr<client::Connection> connection;
  uint64_t request_ms;
  std::mutex sessions_mutex;
  std::map<proto::SessionUid, std::weak_ptr<SessionHandle>> sessions;
};

/// Shared by the copies of a Session; the last one detaches.
class SessionHandle {
 public:
  SessionHandle(std::shared_ptr<ClientImpl> owner, std::shared_ptr<SessionImpl> listener,
                proto::SessionInfo opened, std::string reader_name)
      : client(std::move(owner)),
        impl(std::move(listener)),
        info(std::move(opened)),
        reader(std::move(reader_name)) {}
  ~SessionHandle() { client->connection->detach(info.uid); }
  SessionHandle(const SessionHandle&) = delete;
  SessionHandle& operator=(const SessionHandle&) = delete;

  client::Connection& connection() { return *client->connection; }
  void need_results();

  const std::shared_ptr<ClientImpl> client;
  const std::shared_ptr<SessionImpl> impl;
  const proto::SessionInfo info;  ///< as it was when it was opened
  const std::string reader;

 private:
  std::atomic<bool> asked_for_results_{false};
};

SessionStatus status_of(const proto::SessionInfo& info);

}  // namespace flame::detail

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The client as a pure state machine: it keeps the link to the broker alive, and everything that
// was asked over it true across broken links, restarted brokers and lost messages. The shell
// (connection.cpp) owns one on its I/O thread.
//
//   link:  connecting --hello sent--> greeting --welcome--> up
//              ^------------- resync, gap, silence, failed send -------'
//
// On every new link absolutes are said again: each attached session is opened once more (which
// tells what the broker has of our submits), held submits are resent, each watch is asked again
// from its cursor.

#include <map>
#include <string>

#include "client/cpp/src/core/events.hpp"
#include "client/cpp/src/core/request_table.hpp"
#include "client/cpp/src/core/result_cursor.hpp"
#include "client/cpp/src/core/submit_window.hpp"
#include "client/cpp/src/core/waiting.hpp"
#include "proto/epoch.hpp"
#include "proto/link.hpp"

namespace flame::client {

struct ClientConfig {
  std::string client;    ///< 32 hex digits, drawn once per client
  std::string endpoint;  ///< only for error texts
  std::string cluster;   ///< "" for any
  std::string version;
  uint32_t first_link = 1;  ///< random, so that an earlier process' link is not taken for ours
};

class ClientCore {
 public:
  explicit ClientCore(ClientConfig config);

  void on(Event event, proto::Now now, Actions& actions);

  /// A Tick is due then; kNever while nothing is.
  int64_t next_deadline() const;
  bool up() const { return phase_ == Phase::kUp; }
  /// While there is no link: that nobody is there, or why who is there does not serve yet.
  proto::Error not_connected() const;
  /// False also for a session that is not attached.
  bool has_room(proto::SessionUid uid) const;
  /// False for a session that is gone: its runs are refused at once.
  bool knows(proto::SessionUid uid) const { return sessions_.contains(uid); }

 private:
  enum class Phase : uint8_t { kConnecting, kGreeting, kUp, kRejected, kLeft };

  struct Session {
    explicit Session(const proto::SessionInfo& info)
        : name(info.session), submits(info.last_submit) {}
    std::string name;
    bool synced = true;  ///< opened on this link; only then submits and watches go out
    RequestTable::Id open_request = 0;
    RequestTable::Id watch_request = 0;
    SubmitWindow submits;
    ResultCursor results;
  };

  void handle(const Tick&);
  void handle(Received& event);
  void handle(const SendFailed&);
  void handle(const Request& event);
  void handle(const Attach& event);
  void handle(const Detach& event);
  void handle(const SubmitRun& event);
  void handle(const WatchFrom& event);
  void handle(const Consumed& event);
  void handle(const Leave&);

  void receive(proto::ErrorReply& reply);
  void receive(const proto::Beat& beat);
  void receive(const proto::Resync& resync);
  void receive(const proto::Bye& bye);
  void receive(const proto::Welcome& welcome);
  void receive(const proto::SubmitAck& ack);
  void receive(proto::Results& results);
  void receive(const proto::SessionChanged& change);
  void receive(proto::Progress& progress) { actions_->push_back(Progressed{std::move(progress)}); }
  void receive(proto::SessionInfo& info);
  void receive(proto::Watching& watching);
  void receive(proto::Ok& reply) { pass_on(reply); }
  void receive(proto::Listing& reply) { pass_on(reply); }
  void receive(proto::Cancelled& reply) { pass_on(reply); }
  void receive(proto::Tasks& reply) { pass_on(reply); }
  void receive(proto::CommonData& reply) { pass_on(reply); }
  void receive(proto::Logs& reply) { pass_on(reply); }
  template <class Reply>
  void pass_on(Reply& reply) {
    auto request = reply.request;  // arguments are evaluated in any order: not in the call
    answer(request, std::move(reply));
  }
  template <class Other>
  void receive(const Other&) {}  // not for clients; the envelope counted it

  void say_hello();
  void drop_link(const std::string& reason, bool new_socket);
  void send(proto::Message message);
  void ask(const proto::Message& message, RequestTable::Id& id_out);
  void answer(RequestTable::Id id, proto::Result<proto::Message> result);
  void answer_all(const RequestTable::Failed& failed);
  void open_again(Session& session);
  void watch(proto::SessionUid uid, Session& session);
  void session_opened(proto::SessionUid uid, Session& session, const proto::SessionInfo& info);
  void compare(proto::SessionUid uid, Session& session, const proto::SessionInfo& info);
  void session_gone(proto::SessionUid uid, Session& session, const proto::Error& error);
  void refuse_submit(const proto::ErrorReply& reply);
  bool refuse_own(const proto::ErrorReply& reply);
  Session* find(proto::SessionUid uid);
  void flush();
  void say_why_it_waits();

  ClientConfig config_;
  Phase phase_ = Phase::kConnecting;
  bool socket_open_ = false;
  proto::Link link_;
  uint32_t next_link_;
  int64_t hello_at_us_ = 0;    ///< connecting: when to try; greeting: when to try again
  int64_t hello_wait_us_ = 0;  ///< doubles from try to try
  uint32_t hellos_unanswered_ = 0;
  int64_t beat_at_us_ = kNever;
  int64_t heard_at_us_ = 0;
  int64_t up_since_us_ = 0;
  int64_t beat_us_ = int64_t{proto::kBeatMs} * proto::kUsPerMs;
  int64_t lease_us_ = int64_t{proto::kClientLeaseMs} * proto::kUsPerMs;
  std::string lineage_;
  bool serving_ = true;  ///< false: the broker answers reads; what it lacks may still be found
  proto::NewestEpoch newest_epoch_;
  proto::Error rejection_;
  proto::Error not_yet_;  ///< the answer to the last hello, while that is "later"
  WaitingReasons waiting_;
  RequestTable requests_;
  std::map<proto::SessionUid, Session> sessions_;
  // Of the call of on() that is running.
  proto::Now now_;
  Actions* actions_ = nullptr;
};

}  // namespace flame::client

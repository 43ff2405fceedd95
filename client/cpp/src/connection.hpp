// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The shell around ClientCore: one thread that owns the socket and the core. Others reach it
// through a queue and an eventfd; what it has to say it says through listeners, on its own thread.
// The public classes (include/flame/) and the tools stand on it.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "proto/messages.hpp"

namespace flame::client {

/// One run to submit. `ticket` comes back with its acknowledgement.
struct OutgoingRun {
  uint64_t ticket = 0;
  uint64_t count = 0;
  proto::Bytes payload;
  bool stamped = false;  ///< asks for time stamps with the results
};

/// What the owner of a session is asked and told. Called on the I/O thread, one at a time; must
/// return quickly, and may call the connection's functions that do not wait.
class SessionListener {
 public:
  virtual ~SessionListener() = default;

  /// The submit window has room: the next run, or nothing. After nothing it is asked again only
  /// after another call of this listener, or when wake() was called.
  virtual std::optional<OutgoingRun> next_run() { return std::nullopt; }
  virtual void on_submitted(uint64_t /*ticket*/, const proto::Run&, proto::Durability) {}
  virtual void on_submit_failed(uint64_t /*ticket*/, const proto::Error&) {}

  /// True: the entry is used up. False: consumed() says so later.
  virtual bool on_results(proto::Results&&) { return true; }
  virtual void on_trimmed(uint64_t /*from*/, uint64_t /*to*/) {}
  virtual void on_watch_failed(const proto::Error&) {}
  virtual void on_changed(const proto::SessionChanged&) {}
  virtual void on_progress(const proto::Progress&) {}
  /// Acknowledged tasks that the broker no longer knows. Their ids may be given to later submits.
  virtual void on_lost(const proto::Run&) {}
  /// Nothing follows: the session was detached or the connection ends.
  virtual void on_detached() {}
};

class Connection {
 public:
  /// Begins to connect and returns at once. The connection repairs itself until it is destroyed.
  /// `cluster`: the one the broker must be of; "" for any.
  explicit Connection(std::string endpoint, std::string cluster = "");
  /// Acknowledges what was consumed, says goodbye, ends the thread. Requests that wait are answered
  /// interrupted.
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Waits until a broker has answered: no_broker after `timeout_ms`, version or cluster if it
  /// refuses us.
  proto::Result<proto::Welcome> wait_until_up(uint64_t timeout_ms);
  const std::string& endpoint() const;
  /// `listener` is told on the I/O thread when nothing goes on for a second, and why; once for each
  /// reason.
  void on_waiting(std::function<void(const proto::Error&)> listener);

  /// Sends a request (a message with a `request` field) and waits for its answer. Not on the I/O
  /// thread.
  proto::Result<proto::Message> request(proto::Message message, uint64_t timeout_ms);
  template <class Reply>
  proto::Result<Reply> ask(proto::Message message, uint64_t timeout_ms) {
    auto answer = request(std::move(message), timeout_ms);
    if (!answer) return answer.error();
    if (auto reply = std::get_if<Reply>(&*answer)) return std::move(*reply);
    return proto::Error{proto::Code::kBadFrame,
                        "the broker answered something else than was asked"};
  }

  /// Creates (a name is drawn if the message has none) or opens a session and attaches the listener
  /// to it before anything about it can arrive. A session attached already keeps its listener:
  /// `second` is true then.
  struct Opened {
    proto::SessionInfo info;
    bool second = false;
  };
  proto::Result<Opened> create_session(proto::CreateSession message,
                                       std::shared_ptr<SessionListener> listener,
                                       uint64_t timeout_ms);
  proto::Result<Opened> open_session(const std::string& session,
                                     std::shared_ptr<SessionListener> listener,
                                     uint64_t timeout_ms);

  // Any thread; none of these waits.

  /// The listener has runs again.
  void wake(proto::SessionUid uid);
  void watch(proto::SessionUid uid, uint64_t index, const std::string& reader = "",
             const std::string& lineage = "");
  void consumed(proto::SessionUid uid, uint64_t index);
  void detach(proto::SessionUid uid);
  /// Runs `work` on the I/O thread.
  void post(std::function<void()> work);

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace flame::client

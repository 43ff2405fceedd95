// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A broker without a store over a real ROUTER socket: one session, `tasks` tasks, windows obeyed,
// everything recorded at once. What a test wants otherwise it does between pump() calls.

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "proto/application.hpp"
#include "proto/codec.hpp"
#include "proto/elements.hpp"
#include "proto/link.hpp"
#include "runtime/clock.hpp"
#include "runtime/socket.hpp"

namespace flame::executor::test {

class FakeBroker {
 public:
  explicit FakeBroker(proto::Application application)
      : application_(std::move(application)), socket_(context_, runtime::Socket::Kind::kRouter) {
    (void)socket_.bind("tcp://127.0.0.1:*").has_value();
  }

  std::string endpoint() const { return socket_.endpoint(); }

  // What it does of its own accord:
  uint64_t tasks = 0;  ///< of the session
  uint64_t run_tasks = 1000;
  size_t input_bytes = 64;
  std::function<std::string(proto::TaskId)> input;  ///< instead of input_bytes
  bool record = true;
  std::string common;
  proto::SessionUid uid = 7;
  uint64_t lease_ms = proto::kLeaseMs;
  bool silent = false;  ///< hears, says nothing
  bool bind_at_hello = true;
  bool retry = false;  ///< dispatches charged runs again

  // What it saw:
  std::map<proto::TaskId, std::string> outputs;  ///< only with keep_outputs
  bool keep_outputs = true;
  std::map<proto::TaskId, proto::Exception> failures;
  std::vector<proto::Returned> returned;
  std::vector<proto::Bound> bound;
  std::vector<proto::ExecutorHello> hellos;
  std::vector<std::string> hello_peers;
  uint64_t answered = 0, duplicates = 0, result_messages = 0, beats = 0, window = 0;
  uint64_t busy = 0;  ///< instances with something in hand, as the last beat said
  bool draining = false, bye = false;
  uint64_t dispatched() const { return next_ - 1; }

  /// Handles messages until `done` or the time is up; true if `done`.
  bool pump(const std::function<bool()>& done, int64_t timeout_ms = 20'000) {
    int64_t until = runtime::read_clock().mono_us + timeout_ms * 1000;
    while (!done()) {
      if (runtime::read_clock().mono_us > until) return false;
      runtime::Received received;
      bool any = false;
      while (socket_.receive(received)) {
        any = true;
        on_frame(received);
      }
      dispatch();
      if (!any) wait();
    }
    return true;
  }

  void send(const proto::Message& message) {
    if (silent) return;
    auto header = proto::encode(link_.next(), message);
    socket_.send(peer_, header, proto::payload_of(message));
  }
  void bind(std::vector<proto::SlotBinding> bindings) { send(proto::Bind{std::move(bindings)}); }
  void send_context(proto::SessionUid to, const std::string& name) {
    send(proto::SessionContext{to, name, proto::to_value(application_), "", 1,
                               proto::Bytes::copy(common)});
  }
  void dispatch_run(proto::Run run, proto::Attempt attempt = 1) {
    std::string payload;
    for (auto id = run.first; id < run.end(); id++) proto::append_element(payload, input_of(id));
    outstanding_ += run.count;
    send(proto::Dispatch{
        uid, {run, attempt, "1-fake", "0123456789abcdef"}, proto::Bytes::own(std::move(payload))});
  }
  std::string input_of(proto::TaskId id) const {
    if (input) return input(id);
    auto text = std::to_string(id);
    text.resize(input_bytes, '.');
    return text;
  }

 private:
  void wait();

  void on_frame(const runtime::Received& received) {
    auto decoded = proto::decode(received.header, received.payload);
    if (!decoded) return;
    if (std::holds_alternative<proto::ExecutorHello>(decoded->message)) {
      peer_ = received.peer;
      link_ = proto::Link(decoded->envelope.link);
    }
    if (link_.receive(decoded->envelope) != proto::Link::Verdict::kAccept) return;
    std::visit([this](auto& m) { on(m); }, decoded->message);
  }

  template <class Other>
  void on(const Other&) {}
  void on(const proto::ExecutorHello& hello) {
    hellos.push_back(hello);
    hello_peers.push_back(peer_);
    send(proto::ExecutorWelcome{0, "fake", "default", "1-fake", "lineage", lease_ms / 3, lease_ms});
    if (hellos.size() > 1 || !bind_at_hello) return;
    send_context(uid, "session-1");
    std::vector<proto::SlotBinding> bindings;
    for (uint64_t slot = 0; slot < hello.slots; slot++) bindings.push_back({slot, 1, uid});
    bind(std::move(bindings));
  }
  void on(const proto::Beat& beat) {
    beats++;
    busy = beat.status;
    send(proto::Beat{1});
  }
  void on(const proto::Bound& message) { bound.push_back(message); }
  void on(const proto::Window& message) {
    for (const auto& w : message.windows) {
      if (w.uid == uid) window = w.tasks;
    }
  }
  void on(const proto::Draining&) { draining = true; }
  void on(const proto::Bye&) { bye = true; }
  void on(const proto::Returned& message) {
    returned.push_back(message);
    for (const auto& run : message.runs) {
      outstanding_ -= run.run.count;
      if (retry) dispatch_run(run.run, run.ticket.attempt + 1);
    }
  }
  void on(const proto::TaskResults& message) {
    result_messages++;
    window = message.window_tasks;
    proto::ElementReader reader(message.payload.view());
    if (keep_outputs) {
      for (auto id = message.run.first; id < message.run.end(); id++) {
        auto output = reader.next();
        if (!outputs.emplace(id, output.value_or("(missing)")).second) duplicates++;
      }
    }
    for (const auto& exception : message.exceptions) failures[exception.id] = exception;
    answered += message.run.count;
    outstanding_ -= message.run.count;
    if (record) send(proto::Recorded{{{message.uid, message.run, proto::Code::kOk}}});
  }

  void dispatch() {
    if (draining) return;  // as the broker: nothing new after that
    while (next_ <= tasks && outstanding_ < window) {
      uint64_t count = std::min({window - outstanding_, tasks + 1 - next_, run_tasks});
      if (count < run_tasks / 4 && outstanding_ > window / 2) return;  // wait for more room
      dispatch_run({next_, count});
      next_ += count;
    }
  }

  proto::Application application_;
  runtime::SocketContext context_;
  runtime::Socket socket_;
  std::string peer_;
  proto::Link link_;
  proto::TaskId next_ = 1;
  uint64_t outstanding_ = 0;
};

}  // namespace flame::executor::test

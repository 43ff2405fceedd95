// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Lines of stdin that become tasks, for `flmctl submit`: read and submitted on a thread of their
// own, since a read waits for a line that may never come and a submit for a broker that is away,
// and a person who presses Ctrl-C meanwhile must hear what was taken.

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <string_view>
#include <thread>

#include "client/tool.hpp"
#include "flame/session.hpp"

namespace flame::flmctl {

/// Fills runs and hands the full ones on.
class Submitter {
 public:
  explicit Submitter(Session session) : session_(std::move(session)) {}
  void add(std::string_view input);
  /// What there is, also if the run is not full.
  void hand_on();
  /// Any thread. From here on nothing is handed on.
  void stop() { stopped_ = true; }
  /// Tasks handed on.
  uint64_t sent() const { return sent_; }

 private:
  Session session_;
  Run run_;
  std::atomic<uint64_t> sent_ = 0;
  std::atomic<bool> stopped_ = false;
};

class StdinFeed {
 public:
  /// `open` runs on the thread, too: it may wait for the broker. `waiter` is told of the end.
  StdinFeed(tools::Waiter& waiter, std::function<Session()> open);
  /// Waits for the end.
  ~StdinFeed();
  StdinFeed(const StdinFeed&) = delete;
  StdinFeed& operator=(const StdinFeed&) = delete;

  bool ended() const { return ended_; }
  /// What ended it early.
  void rethrow() const;
  /// nullptr until it is open.
  Session* session() { return opened_ ? &session_ : nullptr; }
  /// For who is not going to wait for the end: no thread is left that has come to it.
  void join_if_ended() {
    if (ended_ && thread_.joinable()) thread_.join();
  }
  void stop() {
    if (opened_) submitter_->stop();
  }
  uint64_t sent() const { return opened_ ? submitter_->sent() : 0; }

 private:
  void run(const std::function<Session()>& open);

  tools::Waiter& waiter_;
  Session session_;
  std::unique_ptr<Submitter> submitter_;
  std::exception_ptr error_;
  std::atomic<bool> opened_ = false, ended_ = false;  ///< each makes what is above it readable
  std::thread thread_;
};

}  // namespace flame::flmctl

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A shim without a process, for tests and simulations: it keeps what it is told, and its test says
// what happened.

#include <vector>

#include "shims/shim.hpp"

namespace flame::shims {

class FakeShim final : public Shim {
 public:
  FakeShim(InstanceId instance, Events& events) : instance_(instance), events_(events) {}

  void enter(const EnterSession& session) override { entered.push_back(session); }
  void invoke(const std::vector<Frame>& more) override {
    frames.insert(frames.end(), more.begin(), more.end());
  }
  void cancel(const proto::Run& run) override { cancelled.push_back(run); }
  void leave() override { leaves++; }
  void terminate() override { terminates++; }
  void kill() override { kills++; }

  void yield(Event event) { events_.push_back({instance_, std::move(event)}); }
  /// Answers all frames with their inputs.
  void echo() {
    for (auto& frame : frames) yield(Results{frame.first, frame.count, {}, frame.elements});
    frames.clear();
  }

  std::vector<EnterSession> entered;
  std::vector<Frame> frames;
  std::vector<proto::Run> cancelled;
  int leaves = 0, terminates = 0, kills = 0;

 private:
  InstanceId instance_;
  Events& events_;
};

}  // namespace flame::shims

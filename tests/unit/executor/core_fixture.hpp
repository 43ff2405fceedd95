// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The core, a clock that the test moves, and both sides' words as short texts, so that a scenario
// is a table.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "executor/core/core.hpp"
#include "proto/elements.hpp"
#include "proto/limits.hpp"

namespace flame::executor::test {

using Lines = std::vector<std::string>;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

inline std::string text_of(const std::vector<proto::HandRun>& runs) {
  std::string text;
  for (const auto& run : runs) text += " " + to_string(run.run);
  return text;
}
inline std::string text_of(const proto::ExecutorHello& m) {
  std::string text = "hello";
  for (const auto& b : m.bindings) {
    text += " slot " + std::to_string(b.slot) + "=" + std::to_string(b.uid);
  }
  return text + " hand" + text_of(m.hand);
}
inline std::string text_of(const proto::TaskResults& m) {
  std::string text = "results " + to_string(m.run) + " window " + std::to_string(m.window_tasks);
  for (const auto& e : m.exceptions) {
    text += " " + std::to_string(e.id) + ":" + std::string(proto::name_of(e.code));
  }
  return text;
}
inline std::string text_of(const proto::Returned& m) {
  return "returned " + std::string(proto::name_of(m.code)) + text_of(m.runs);
}
inline std::string text_of(const proto::Bound& m) {
  return "bound " + std::to_string(m.binding.slot) + "=" + std::to_string(m.binding.uid) + "." +
         std::to_string(m.binding.generation) + " " + std::string(proto::name_of(m.code));
}
inline std::string text_of(const proto::Window& m) {
  std::string text = "window";
  for (const auto& w : m.windows) {
    text += " " + std::to_string(w.uid) + ":" + std::to_string(w.tasks);
  }
  return text;
}
template <class Other>
std::string text_of(const Other&) {
  return std::string(proto::name_of(Other::kType));
}

inline std::string text_of(const Send& a) {
  return std::visit([](const auto& m) { return text_of(m); }, a.message);
}
inline std::string text_of(const Reconnect&) { return "reconnect"; }
inline std::string text_of(const Start& a) {
  return "start " + std::to_string(a.instance) + " " + a.application.name;
}
inline std::string text_of(const Cancel& a) {
  return "cancel " + std::to_string(a.instance) + " " + to_string(a.run);
}
inline std::string text_of(const Enter& a) {
  return "enter " + std::to_string(a.instance) + " " + a.session.session;
}
inline std::string text_of(const Invoke& a) {
  std::string text = "invoke " + std::to_string(a.instance);
  for (const auto& f : a.frames)
    text += (f.next ? " next " : " ") + to_string(proto::Run{f.first, f.count});
  return text;
}
inline std::string text_of(const Leave& a) { return "leave " + std::to_string(a.instance); }
inline std::string text_of(const Stop& a) { return "stop " + std::to_string(a.instance); }
inline std::string text_of(const Kill& a) { return "kill " + std::to_string(a.instance); }
inline std::string text_of(const ReadLogs& a) { return "logs of " + std::to_string(a.task); }
inline std::string text_of(const Note&) { return ""; }
inline std::string text_of(const Exit& a) { return "exit " + std::to_string(a.code); }

class CoreTest : public ::testing::Test {
 protected:
  static constexpr int64_t kMs = 1000, kSecond = 1'000'000;

  explicit CoreTest(uint64_t slots = 1) {
    config_.id = "executor-1";
    config_.slots = slots;
    config_.first_link = 40;
    application_.name = "app";
    application_.command = "service";
  }

  Core& core() {
    if (!core_) core_ = std::make_unique<Core>(config_, now_);
    return *core_;
  }
  void pass(int64_t us) {
    now_.mono_us += us;
    now_.wall_us += us;
  }

  void feed(const Event& event) { core().on(event, now_, actions_); }

  /// Ends the turn; what was decided, notes left out.
  Lines turn() {
    feed(TurnEnded{});
    last_ = std::move(actions_);
    actions_.clear();
    // A deadline that stays in the past would make the loop spin.
    EXPECT_GT(core().next_deadline_us(), now_.mono_us);
    Lines lines;
    for (const auto& action : last_) {
      if (auto send = std::get_if<Send>(&action)) {
        if (std::holds_alternative<proto::ExecutorHello>(send->message)) {
          broker_link_ = proto::Link(send->envelope.link);
        }
      }
      auto line = std::visit([](const auto& a) { return text_of(a); }, action);
      if (!line.empty()) lines.push_back(line);
    }
    return lines;
  }
  /// As turn(), after `us`.
  Lines after(int64_t us) {
    pass(us);
    return turn();
  }
  template <class Message>
  const Message& last() const {
    for (const auto& action : last_) {
      auto send = std::get_if<Send>(&action);
      if (send == nullptr) continue;
      if (auto message = std::get_if<Message>(&send->message)) return *message;
    }
    static const Message none{};
    ADD_FAILURE() << "it was not sent";
    return none;
  }

  void say(proto::Message message) { feed(Received{broker_link_.next(), std::move(message)}); }
  void welcome() { say(proto::ExecutorWelcome{}); }
  void context(proto::SessionUid uid, const std::string& owner = "", uint64_t version = 1) {
    say(proto::SessionContext{
        uid, "s" + std::to_string(uid), proto::to_value(application_), owner, version, {}});
  }
  void bind(uint64_t slot, uint64_t generation, proto::SessionUid uid) {
    say(proto::Bind{{{slot, generation, uid}}});
  }
  void dispatch(proto::SessionUid uid, proto::Run run, proto::Attempt attempt = 1) {
    std::string payload;
    for (auto id = run.first; id < run.end(); id++) proto::append_element(payload, "i");
    say(proto::Dispatch{uid,
                        {run, attempt, "1-e", "token-" + to_string(run)},
                        proto::Bytes::own(std::move(payload))});
  }
  void recorded(proto::SessionUid uid, proto::Run run) {
    say(proto::Recorded{{{uid, run, proto::Code::kOk}}});
  }

  void entered(InstanceId id, bool takes_next = false) {
    feed(InstanceEvent{id, shims::Entered{true, "", takes_next}});
  }
  void left(InstanceId id) { feed(InstanceEvent{id, shims::Left{}}); }
  void exited(InstanceId id, const std::string& reason = "exit code 1") {
    feed(InstanceEvent{id, shims::Exited{reason}});
  }
  void answer(InstanceId id, proto::Run run, std::vector<shims::Failure> failures = {},
              const std::string& output = "o") {
    std::string elements;
    for (auto at = run.first; at < run.end(); at++) proto::append_element(elements, output);
    feed(InstanceEvent{
        id, shims::Results{run.first, static_cast<uint32_t>(run.count), std::move(failures),
                           proto::Bytes::own(std::move(elements))}});
  }

  /// Registered, and slot 0 serves session 7 with instance 1.
  void serve_session(bool takes_next = false) {
    turn();
    welcome();
    context(7);
    bind(0, 1, 7);
    turn();
    entered(1, takes_next);
    turn();
  }
  /// The run times of a service whose tasks take `us` each.
  void teach(int64_t us, proto::TaskId id = 1000) {
    dispatch(7, {id, 1});
    turn();
    pass(us);
    answer(1, {id, 1});
    recorded(7, {id, 1});
    turn();
  }

  Config config_;
  proto::Application application_;
  proto::Now now_{1'000'000'000, 1'700'000'000'000'000};
  std::unique_ptr<Core> core_;
  proto::Link broker_link_;
  Actions actions_, last_;
};

}  // namespace flame::executor::test

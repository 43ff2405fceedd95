// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// What clients are told of a session that is closing or suspended, and how long a silent peer is
// believed. Network and store are played by hand: here a batch is stored when the test says so.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/core/core.hpp"
#include "proto/elements.hpp"
#include "tests/unit/broker/by_hand.hpp"

namespace flame::broker {
namespace {

using proto::Code;
using proto::SessionState;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr int64_t kMs = proto::kUsPerMs;

std::string text_of(const proto::Message& message) {
  auto text = std::string(proto::name_of(proto::type_of(message)));
  if (auto results = std::get_if<proto::Results>(&message)) {
    text += " " + to_string(results->run);
    if (!results->exceptions.empty())
      text += " " + std::string(proto::name_of(results->exceptions[0].code));
  } else if (auto changed = std::get_if<proto::SessionChanged>(&message)) {
    text += " " + std::string(proto::name_of(changed->state));
    if (!changed->reason.empty()) text += ": " + changed->reason;
  } else if (auto ack = std::get_if<proto::SubmitAck>(&message)) {
    for (const auto& item : ack->items) text += " " + to_string(item.run);
  } else if (auto error = std::get_if<proto::ErrorReply>(&message)) {
    text = std::string(proto::name_of(error->code)) + ": " + error->message;
  } else if (auto info = std::get_if<proto::SessionInfo>(&message)) {
    text += " " + std::string(proto::name_of(info->state));
  }
  return text;
}

/// A broker, two clients and an executor with two slots.
class StatesTest : public testing::Test {
 protected:
  void SetUp() override {
    core.on(StoreEvent(first_start()), now);
    core.on(StoreEvent(StoreHealth{.writable = true}), now);
    for (const Peer client : {"c", "d"}) {
      links[client] = proto::Link(++last_link);
      say(client, proto::ClientHello{proto::kProtocolMinor, "", "client-" + client, "", "test"});
    }
    links["e"] = proto::Link(++last_link);
    proto::ExecutorHello hello;
    hello.executor = "executor-1";
    hello.nonce = "1";
    hello.slots = 2;
    say("e", std::move(hello), Port::kExecutors);
    pass(100 * kMs, 10);  // the first beats, which say how often they come
    settle();
    for (const char* client : {"c", "d"}) say(client, proto::Beat{0, 0, UINT64_MAX});
    heard.clear();
  }
  void say(const Peer& peer, proto::Message message, Port port = Port::kClients) {
    core.on(PeerMessage{port, peer, links[peer].next(), std::move(message)}, now);
    look();
  }
  /// Takes what the core sends: `heard` for clients, dispatches and bindings for the executor.
  void look() {
    for (auto& action : core.take_actions()) {
      auto send = std::get_if<Send>(&action);
      if (send == nullptr) continue;
      if (auto bind = std::get_if<proto::Bind>(&send->message)) {
        for (const auto& binding : bind->bindings) bindings[binding.slot] = binding;
      } else if (auto dispatch = std::get_if<proto::Dispatch>(&send->message)) {
        hand.push_back(std::move(*dispatch));
      } else if (send->port == Port::kClients) {
        auto type = proto::type_of(send->message);
        if (type != proto::MessageType::kBeat)
          heard.push_back(send->peer + " " + text_of(send->message));
      }
    }
    EXPECT_EQ(core.broken_invariant(), "");
  }
  std::optional<uint64_t> write() {
    auto batch = core.close_batch(now);
    look();
    for (const auto& op : batch ? batch->ops : std::vector<StoreOp>()) {
      if (auto event = std::get_if<PutEvent>(&op))
        events.push_back(event->code + ": " + event->text);
    }
    return batch ? std::optional(batch->number) : std::nullopt;
  }
  void stored(uint64_t batch) {
    core.on(StoreEvent(BatchStored{batch}), now);
    look();
  }
  /// Everything that is to be written is stored.
  void settle() {
    while (auto batch = write()) stored(*batch);
  }
  proto::SessionUid open(const std::string& name) {
    proto::CreateSession create;
    create.request = ++request;
    create.session = name;
    create.spec.application = "echo";
    say("c", std::move(create));
    settle();
    auto uid = core.state().names.at(name);
    say("c", proto::Watch{++request, uid, 0});
    heard.clear();
    return uid;
  }
  void submit(proto::SessionUid uid, uint64_t count) {
    std::string inputs;
    for (uint64_t i = 0; i < count; i++) proto::append_element(inputs, "in");
    say("c", proto::Submit{uid, ++submits[uid], count, 0, proto::Bytes::own(std::move(inputs))});
  }
  /// The executor does what it was told and asks for `tasks` of each session.
  void take(uint64_t tasks) {
    settle();
    proto::Window window;
    for (const auto& [slot, binding] : bindings) {
      say("e", proto::Bound{binding, Code::kOk, ""}, Port::kExecutors);
      if (binding.uid != 0) window.windows.push_back({binding.uid, tasks, 100'000});
    }
    say("e", std::move(window), Port::kExecutors);
    settle();
  }
  /// The first of what it has is done.
  void finish() {
    ASSERT_THAT(hand, Not(IsEmpty()));
    proto::Dispatch done = std::move(hand.front());
    hand.erase(hand.begin());
    proto::TaskResults message;
    message.uid = done.uid;
    message.run = done.ticket.run;
    message.ticket = done.ticket;
    message.times = {{message.run.count, 1, 2}};
    std::string outputs;
    for (uint64_t i = 0; i < message.run.count; i++) proto::append_element(outputs, "out");
    message.payload = proto::Bytes::own(std::move(outputs));
    say("e", std::move(message), Port::kExecutors);
  }
  /// `times` turns of the loop, `us` apart. Everything there was to read has been read.
  void pass(int64_t us, int times = 1) {
    for (int i = 0; i < times; i++) {
      now.mono_us += us;
      now.wall_us += us;
      core.tick(now, true);
      look();
    }
  }
  std::vector<std::string> take_heard() { return std::exchange(heard, {}); }
  const Session& session_of(proto::SessionUid uid) const { return *core.state().sessions.at(uid); }
  bool executor_lives() const {
    return core.state().executors.at("executor-1").state == proto::ExecutorState::kConnected;
  }
  bool client_lives(const Peer& peer) const { return core.state().clients.contains(peer); }

  Core core{CoreConfig{.version = "test", .seed = 1}};
  proto::Now now{1'000'000, 1'700'000'000'000'000};
  std::map<Peer, proto::Link> links;
  std::map<proto::SessionUid, uint64_t> submits;
  std::map<uint64_t, proto::SlotBinding> bindings;
  std::vector<proto::Dispatch> hand;
  std::vector<std::string> heard;
  std::vector<std::string> events;  ///< written to sessions
  uint32_t last_link = 0;
  uint64_t request = 0;
};

// ---- closing
// -----------------------------------------------------------------------------------------------

TEST_F(StatesTest, AClosingSessionDeliversWhatRunsAndSaysWhenItIsClosed) {
  auto uid = open("s");
  submit(uid, 3);
  take(2);
  ASSERT_EQ(session_of(uid).counters.running, 2u);
  take_heard();
  say("d", proto::CloseSession{++request, "s"});
  EXPECT_THAT(take_heard(), IsEmpty()) << "nothing of it is stored";
  settle();
  EXPECT_THAT(take_heard(), ElementsAre("c results 3 task_cancelled", "d session_info Closing"));
  submit(uid, 1);
  settle();
  EXPECT_THAT(take_heard(), ElementsAre(HasSubstr("c wrong_state: ")));
  // What runs is recorded, delivered and, with the last of it, the session is closed.
  finish();
  EXPECT_THAT(take_heard(), IsEmpty()) << "not stored yet";
  settle();
  auto told = take_heard();
  EXPECT_THAT(told, Contains("c results 1-2"));
  EXPECT_THAT(told, Contains("c session_changed Closed"));
  EXPECT_EQ(session_of(uid).counters.succeed, 2u);
}

TEST_F(StatesTest, WhoWaitsForTheEndOfAClosingSessionIsToldWhenItIsStored) {
  auto uid = open("s");
  submit(uid, 1);
  take(2);
  say("d", proto::CloseSession{++request, "s"});
  say("d", proto::WaitSession{++request, "s", true});
  settle();
  take_heard();
  finish();
  auto batch = write();
  ASSERT_TRUE(batch);
  EXPECT_THAT(take_heard(), IsEmpty());
  stored(*batch);
  EXPECT_THAT(take_heard(), Contains("d session_info Closed"));
  EXPECT_EQ(session_of(uid).state, SessionState::kClosed);
}

TEST_F(StatesTest, TheEventOfAClosingCountsWhatTheClosingCancelled) {
  auto uid = open("s");
  submit(uid, 5);
  say("d", proto::CancelTasks{++request, "s", {{1, 3}}, false});
  settle();
  events.clear();
  say("d", proto::CloseSession{++request, "s"});
  settle();
  EXPECT_THAT(events, ElementsAre("closing: 2 pending tasks cancelled"));
  EXPECT_EQ(session_of(uid).counters.cancelled, 5u);
}

// ---- suspended
// ---------------------------------------------------------------------------------------------

TEST_F(StatesTest, ASuspendedSessionAcknowledgesNothingOfWhatWasRefusedAndSaysWhy) {
  auto bad = open("bad"), good = open("good");
  submit(bad, 1);
  submit(good, 2);
  auto batch = write();
  ASSERT_TRUE(batch);
  EXPECT_THAT(take_heard(), IsEmpty());
  core.on(StoreEvent(SessionRefused{"bad", "Redis refuses its keys"}), now);
  look();
  EXPECT_THAT(take_heard(), ElementsAre("c session_changed Suspended: Redis refuses its keys"));
  stored(*batch);
  settle();
  EXPECT_THAT(take_heard(), ElementsAre("c submit_ack 1-2")) << "of the other one";
  submit(bad, 1);
  settle();
  EXPECT_THAT(take_heard(), ElementsAre(HasSubstr("c wrong_state: ")));
}

TEST_F(StatesTest, ASuspendedSessionDeliversNothingThatRestsOnWhatWasRefused) {
  auto bad = open("bad"), good = open("good");
  submit(bad, 1);
  submit(good, 1);
  take(1);
  ASSERT_EQ(hand.size(), 2u);
  take_heard();
  finish();
  finish();
  auto batch = write();
  ASSERT_TRUE(batch);
  core.on(StoreEvent(SessionRefused{"bad", "WRONGTYPE"}), now);
  stored(*batch);
  settle();
  // Whoever reads it again gets no more either.
  say("d", proto::Watch{++request, bad, 0});
  pass(100 * kMs, 20);
  settle();
  auto told = take_heard();
  EXPECT_THAT(told, Contains("c session_changed Suspended: WRONGTYPE"));
  EXPECT_THAT(told, Contains("d watching"));
  EXPECT_EQ(std::count(told.begin(), told.end(), "c results 1"), 1) << "of the good one";
  EXPECT_THAT(told, Not(Contains("d results 1")));
  EXPECT_EQ(session_of(bad).done_confirmed, 0u);
  EXPECT_EQ(session_of(good).done_confirmed, 1u);
}

// It may be closing by then, or closed in memory by the very result that is refused.
TEST_F(StatesTest, AClosingSessionWhoseLastResultsAreRefusedDeliversThemNot) {
  for (size_t finished : {0u, 1u, 2u}) {
    auto name = "s" + std::to_string(finished);
    auto uid = open(name);
    submit(uid, 2);
    take(2);
    ASSERT_EQ(session_of(uid).counters.running, 2u);
    if (hand.size() == 1) {  // one run of both
      finish();
    } else {
      for (size_t i = 0; i < finished; i++) finish();
    }
    say("c", proto::CloseSession{++request, name});
    take_heard();
    auto batch = write();
    ASSERT_TRUE(batch);
    core.on(StoreEvent(SessionRefused{name, "WRONGTYPE"}), now);
    stored(*batch);
    settle();
    auto told = take_heard();
    EXPECT_EQ(session_of(uid).state, SessionState::kSuspended);
    EXPECT_THAT(told, Contains("c session_changed Suspended: WRONGTYPE"));
    EXPECT_THAT(told, Not(Contains(HasSubstr("c results")))) << name;
    EXPECT_EQ(session_of(uid).done_confirmed, 0u);
    hand.clear();
    say("c", proto::DeleteSession{++request, name, true});
    settle();
  }
}

// ---- leases
// ------------------------------------------------------------------------------------------------

TEST_F(StatesTest, SilentPeersAreLostAfterTheirLeases) {
  auto uid = open("s");
  submit(uid, 1);
  take(1);
  pass(100 * kMs, static_cast<int>(proto::kLeaseMs / 100));
  EXPECT_TRUE(executor_lives());
  pass(100 * kMs);
  EXPECT_FALSE(executor_lives());
  pass(100 * kMs, static_cast<int>((proto::kClientLeaseMs - proto::kLeaseMs) / 100) - 1);
  EXPECT_TRUE(client_lives("d"));
  pass(100 * kMs);
  EXPECT_FALSE(client_lives("d"));
}

// A broker that stood still has heard nobody, and nobody is to blame.
TEST_F(StatesTest, AGapInTheBrokersOwnTimeIsAddedToEveryLease) {
  auto uid = open("s");
  submit(uid, 1);
  take(1);
  pass(100 * kMs, 10);
  pass(60'000 * kMs);  // longer than any lease
  EXPECT_TRUE(executor_lives());
  EXPECT_TRUE(client_lives("c") && client_lives("d"));
  // What was left of the leases goes on from there.
  pass(100 * kMs, 20);
  EXPECT_TRUE(executor_lives());
  pass(100 * kMs);
  EXPECT_FALSE(executor_lives());
  pass(100 * kMs, static_cast<int>((proto::kClientLeaseMs - 1000) / 100) - 22);
  EXPECT_TRUE(client_lives("d"));
  pass(100 * kMs, 2);
  EXPECT_FALSE(client_lives("d"));
}

// Late again and again is busy, not paused: a loss must be noticed.
TEST_F(StatesTest, OnlyTheFirstOfGapsInARowIsAdded) {
  auto uid = open("s");
  submit(uid, 1);
  take(1);
  pass(100 * kMs);
  pass(600 * kMs, 5);  // 3 s, of which 0.6 s are forgiven
  EXPECT_TRUE(executor_lives());
  pass(600 * kMs);
  EXPECT_FALSE(executor_lives());
}

TEST_F(StatesTest, ALateTurnThatIsNoGapIsNotAdded) {
  auto uid = open("s");
  submit(uid, 1);
  take(1);
  pass(100 * kMs);
  pass(500 * kMs, 5);
  EXPECT_TRUE(executor_lives());
  pass(500 * kMs);
  EXPECT_FALSE(executor_lives());
}

}  // namespace
}  // namespace flame::broker

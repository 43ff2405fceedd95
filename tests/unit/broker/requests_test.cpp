// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// What the core answers to clients while it cannot do what they ask. Network and store are played
// by hand; what a whole cluster makes of it is the simulation's.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "broker/core/core.hpp"
#include "broker/core/durability.hpp"
#include "broker/core/lifecycle.hpp"
#include "broker/core/scheduler.hpp"
#include "proto/codec.hpp"
#include "proto/rows.hpp"
#include "tests/unit/broker/by_hand.hpp"

namespace flame::broker {
namespace {

using proto::Code;
using proto::Durability;
using proto::kRequestsWaitingMax;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class RequestsTest : public testing::Test {
 protected:
  void start(bool broken = false) {
    Recovered recovered = first_start();
    recovered.lineage_broken = broken;
    recovered.reason = broken ? "batches 5 to 9 are missing" : "";
    recovered.abilities = {.can_sync = true};
    core.on(StoreEvent(recovered), now);
    core.on(StoreEvent(StoreHealth{.writable = true, .abilities = recovered.abilities}), now);
  }
  /// What the client hears, in words.
  std::vector<std::string> hear(proto::Message message, const Peer& peer = "c") {
    core.on(PeerMessage{Port::kClients, peer, links[peer].next(), std::move(message)}, now);
    return turn();
  }
  std::vector<std::string> hello(const Peer& peer = "c") {
    links[peer] = proto::Link(++last_link);
    return hear(proto::ClientHello{proto::kProtocolMinor, "", "client", "", "test"}, peer);
  }
  /// Batches are stored as they come.
  std::vector<std::string> turn() {
    while (auto batch = core.close_batch(now)) core.on(StoreEvent(BatchStored{batch->number}), now);
    return heard();
  }
  std::vector<std::string> heard() {
    std::vector<std::string> words;
    for (auto& action : core.take_actions()) {
      auto send = std::get_if<Send>(&action);
      if (send == nullptr) continue;
      auto error = std::get_if<proto::ErrorReply>(&send->message);
      if (error != nullptr) refused = error->request;
      words.push_back(error == nullptr
                          ? std::string(proto::name_of(proto::type_of(send->message)))
                          : std::string(proto::name_of(error->code)) + ": " + error->message);
    }
    EXPECT_EQ(core.broken_invariant(), "");
    return words;
  }
  std::vector<std::string> on(StoreEvent event) {
    core.on(std::move(event), now);
    return turn();
  }
  proto::CreateSession create(Durability level = Durability::kSynced) {
    proto::CreateSession message;
    message.request = ++request;
    message.session = "s";
    message.open_or_create = true;
    message.spec.application = "echo";
    message.spec.durability = level;
    return message;
  }
  uint64_t waiting() const { return waiting_for(core.state(), Durability::kSynced); }

  Core core{CoreConfig{.version = "test", .seed = 1}};
  proto::Now now{1'000'000, 1'000'000};
  std::map<Peer, proto::Link> links;
  uint32_t last_link = 0;
  uint64_t request = 0;
  uint64_t refused = 0;  ///< what the last error was the answer to
};

TEST_F(RequestsTest, RepeatedOnesThatWaitForADiskAreBounded) {
  start();
  EXPECT_THAT(hello(), ElementsAre("welcome"));
  for (uint64_t i = 0; i < kRequestsWaitingMax; i++) ASSERT_THAT(hear(create()), IsEmpty()) << i;
  EXPECT_EQ(waiting(), kRequestsWaitingMax);
  EXPECT_THAT(hear(create()), ElementsAre(HasSubstr("busy: 1024 requests of this client wait")));
  EXPECT_THAT(hear(proto::CloseSession{++request, "s"}), ElementsAre(HasSubstr("busy")));
  EXPECT_THAT(hear(proto::DeleteSession{++request, "s", true}), ElementsAre(HasSubstr("busy")));
  EXPECT_THAT(hear(proto::WaitSession{++request, "s", false}), ElementsAre(HasSubstr("busy")));
  EXPECT_EQ(waiting(), kRequestsWaitingMax);
  hello("another");  // has room of its own
  ASSERT_THAT(hear(create(), "another"), IsEmpty());
  EXPECT_EQ(waiting(), kRequestsWaitingMax + 1);
  EXPECT_EQ(on(Durable{Durability::kSynced, core.state().last_batch}).size(),
            kRequestsWaitingMax + 1);
  EXPECT_THAT(hear(create()), ElementsAre("session_info"));
}

TEST_F(RequestsTest, WhatWaitsForAClientThatIsGoneIsForgotten) {
  start();
  for (int round = 0; round < 3; round++) {
    hello();
    for (uint64_t i = 0; i < 100; i++) ASSERT_THAT(hear(create()), IsEmpty());
    EXPECT_EQ(waiting(), 100u);
  }
  core.on(PeerGone{Port::kClients, "c"}, now);
  turn();
  EXPECT_EQ(waiting(), 0u);
}

// Its client may have given it up: nobody says so.
TEST_F(RequestsTest, OfTooManyWaitsForTheEndOfASessionTheOldestGoes) {
  start();
  hello();
  hear(create(Durability::kStored));
  proto::SessionUid uid = core.state().sessions.begin()->first;
  hear(proto::Submit{uid, 1, 1, 0, proto::Bytes::own(std::string("\xc4\x01x", 3))});
  hello("another");
  ASSERT_THAT(hear(proto::WaitSession{++request, "s", true}, "another"), IsEmpty());
  uint64_t first = request + 1;
  for (uint64_t i = 0; i < kRequestsWaitingMax; i++)
    ASSERT_THAT(hear(proto::WaitSession{++request, "s", false}), IsEmpty()) << i;
  EXPECT_THAT(hear(proto::WaitSession{++request, "s", false}), ElementsAre(HasSubstr("busy")));
  EXPECT_EQ(refused, first);
  EXPECT_THAT(hear(proto::WaitSession{++request, "s", false}), ElementsAre(HasSubstr("busy")));
  EXPECT_EQ(refused, first + 1);
  auto answers = hear(proto::CloseSession{++request, "s"});
  EXPECT_EQ(std::count(answers.begin(), answers.end(), "session_info"),
            int64_t{kRequestsWaitingMax} + 2)
      << "the close, all that wait, and the other client's";
}

TEST_F(RequestsTest, WhatWasTakenBeforeRedisRefusedIsGivenTheReason) {
  start();
  hello();
  hello("another");
  StoreHealth full{.error = {Code::kStoreRefused, "Redis is full"}};
  EXPECT_THAT(on(full),
              ElementsAre("store_refused: Redis is full", "store_refused: Redis is full"));
  EXPECT_THAT(on(full), IsEmpty()) << "said once";
  EXPECT_THAT(hear(create()), ElementsAre("store_refused: Redis is full"));
}

TEST_F(RequestsTest, NothingIsGoneUntilALossIsAccepted) {
  start(/*broken=*/true);
  EXPECT_THAT(hello(), ElementsAre("welcome"));
  auto undecided = ElementsAre(HasSubstr("lost_lineage: "));
  EXPECT_THAT(hear(proto::OpenSession{++request, "s"}), undecided);
  EXPECT_THAT(hear(proto::Submit{77, 1, 1, 0, proto::Bytes::own(std::string("\xc4\x01x", 3))}),
              undecided);
  EXPECT_THAT(hear(proto::Watch{++request, 77, 5}), undecided);
  EXPECT_THAT(hear(create()), undecided);
}

TEST_F(RequestsTest, AbsurdAttributesAreRefusedByName) {
  start();
  hello();
  auto refused = [&](auto change) {
    auto message = create(Durability::kStored);
    change(message.spec);
    return hear(std::move(message));
  };
  EXPECT_THAT(refused([](auto& spec) { spec.min_instances = UINT64_MAX; }),
              ElementsAre(HasSubstr("bad_request: min_instances is 18446744073709551615")));
  EXPECT_THAT(refused([](auto& spec) { spec.max_instances = 1ull << 63; }),
              ElementsAre(HasSubstr("max_instances")));
  EXPECT_THAT(refused([](auto& spec) { spec.priority = UINT64_MAX; }),
              ElementsAre(HasSubstr("priority")));
  EXPECT_THAT(refused([](auto& spec) { spec.batch_size = UINT64_MAX; }),
              ElementsAre(HasSubstr("batch_size")));
  EXPECT_THAT(refused([](auto& spec) { spec.batch_size = 0; }),
              ElementsAre(HasSubstr("bad_request: batch_size is 0; at least 1")));
  EXPECT_THAT(refused([](auto& spec) { spec.results_ttl_ms = UINT64_MAX; }),
              ElementsAre(HasSubstr("results_ttl_ms")));
  EXPECT_THAT(refused([](auto& spec) { spec.resources = std::string(200'000, 'r'); }),
              ElementsAre(HasSubstr("resources is 200000")));
  auto last = create(Durability::kStored);
  last.session = "last";
  EXPECT_THAT(hear(std::move(last)), ElementsAre(HasSubstr("bad_name: a session cannot be")));
}

TEST_F(RequestsTest, ASessionIsReadFromRedisAsItWasStored) {
  start();
  hello();
  const proto::SessionSpec spec{"echo", 1, 8, 5, Durability::kStored, "read", 60'000, "cpu=2", 4};
  auto message = create();
  message.spec = spec;
  EXPECT_THAT(hear(message), ElementsAre("session_info"));
  auto session = [&]() -> const Session& { return *core.state().sessions.begin()->second; };
  Recovered recovered = first_start();
  recovered.sessions = {{.session = "s", .fields = fields_of(session(), /*all=*/true)}};
  on(recovered);
  EXPECT_TRUE(session().spec == spec);
  hello();
  message.spec.batch_size = 3;
  EXPECT_THAT(hear(message), ElementsAre("already_exists: session 's' exists with batch_size 4"));

  // One that a broker stored which did not know this field.
  std::erase_if(recovered.sessions[0].fields,
                [](const auto& field) { return field.first == "batch_size"; });
  on(recovered);
  EXPECT_EQ(session().spec.batch_size, 1u);
}

TEST_F(RequestsTest, NearItsLimitTheStoreKeepsTheRoomForResults) {
  start();
  hello();
  on(StoreHealth{.writable = true, .busy = true, .error = {Code::kOk, "memory is at 90 %"}});
  EXPECT_THAT(hear(create()), ElementsAre("busy: memory is at 90 %"));
  EXPECT_THAT(hear(proto::UnregisterApplication{++request, "flmping"}), ElementsAre("ok"));
}

TEST_F(RequestsTest, AFullStoreIsAskedToTakeWhatGivesMemoryBackAndNothingElse) {
  start();
  hello();
  for (auto name : {"closed", "open", "tasks"}) {
    auto message = create(Durability::kStored);
    message.session = name;
    hear(std::move(message));
  }
  hear(proto::CloseSession{++request, "closed"});
  core.on(StoreEvent(StoreHealth{.full = true, .error = {Code::kStoreRefused, "full"}}), now);
  uint64_t written = core.state().last_batch;
  core.take_actions();
  auto asks = [&](proto::Message message) {
    core.on(PeerMessage{Port::kClients, "c", links["c"].next(), std::move(message)}, now);
    std::vector<uint64_t> batches;
    for (const auto& action : core.take_actions()) {
      if (auto room = std::get_if<MakeRoom>(&action)) batches.push_back(room->batch);
    }
    return batches;
  };
  EXPECT_THAT(asks(proto::DeleteSession{++request, "open", false}), IsEmpty()) << "it is open";
  EXPECT_THAT(asks(create()), IsEmpty());
  EXPECT_THAT(asks(proto::DeleteSession{++request, "closed", false}), ElementsAre(written + 1));
  EXPECT_THAT(turn(), ElementsAre("ok"));
  EXPECT_THAT(asks(proto::CloseSession{++request, "open"}), ElementsAre(written + 2));
  EXPECT_THAT(asks(proto::UnregisterApplication{++request, "flmping"}), ElementsAre(written + 2));
  EXPECT_EQ(turn().size(), 2u);
  EXPECT_THAT(hear(proto::RegisterApplication{++request, {}}), ElementsAre("store_refused: full"));
}

TEST_F(RequestsTest, WhoAsksAndNeverReadsIsBounded) {
  start();
  hello();
  for (size_t i = 0; i < 100; i++) {
    auto message = create(Durability::kStored);
    message.session = "s" + std::to_string(i);
    message.spec.resources = std::string(1000, 'r');
    hear(std::move(message));
  }
  auto list = [&] { return hear(proto::ListKind{++request, "session", false}).at(0); };
  uint64_t asked = 0;
  while (list() == "listing") ASSERT_LT(asked++, 10'000u);
  uint64_t unread = core.state().clients.at("c").unread_bytes;
  EXPECT_GE(unread, proto::kUnreadAnswerBytesMax);
  EXPECT_LT(unread, 2 * proto::kUnreadAnswerBytesMax);
  EXPECT_THAT(list(), HasSubstr("busy: answers of"));
  EXPECT_THAT(hear(create(Durability::kStored)), ElementsAre("session_info")) << "small";
  hear(proto::Beat{0, 0, UINT64_MAX});
  EXPECT_EQ(core.state().clients.at("c").unread_bytes, 0u);
  EXPECT_EQ(list(), "listing");
}

TEST_F(RequestsTest, ReadersAreBoundedAndForgotten) {
  start();
  hello();
  hear(create(Durability::kStored));
  const auto& session = *core.state().sessions.begin()->second;
  auto watch = [&](const std::string& reader) {
    return hear(proto::Watch{++request, session.uid, 0, 1, reader, ""}).at(0);
  };
  for (size_t i = 0; i < proto::kReadersMax; i++)
    ASSERT_EQ(watch("reader" + std::to_string(i)), "watching");
  EXPECT_THAT(watch("one more"), HasSubstr("bad_request: session 's' has 1000 readers"));
  EXPECT_EQ(watch("reader7"), "watching");
  EXPECT_EQ(watch(""), "watching");
  now.wall_us += static_cast<int64_t>(proto::kReaderTtlMs + 1) * proto::kUsPerMs;
  now.mono_us += static_cast<int64_t>(proto::kReaderTtlMs + 1) * proto::kUsPerMs;
  core.tick(now, /*drained=*/false);
  turn();
  EXPECT_THAT(session.readers, IsEmpty());
}

TEST_F(RequestsTest, AClockThatIsSetAgesNothing) {
  start();
  hello();
  auto pass = [&](uint64_t ms, uint64_t set_ms = 0) {
    now.mono_us += static_cast<int64_t>(ms) * proto::kUsPerMs;
    now.wall_us += static_cast<int64_t>(ms + set_ms) * proto::kUsPerMs;
    core.tick(now, /*drained=*/false);
    turn();
  };
  auto closed = create(Durability::kStored);
  closed.session = "closed";
  hear(std::move(closed));
  hear(proto::CloseSession{++request, "closed"});
  hear(create(Durability::kStored));
  proto::SessionUid uid = core.state().names.at("s");
  auto submit = [&](uint64_t number) {
    return hear(proto::Submit{uid, number, 1, 0, proto::Bytes::own(std::string("\xc4\x01x", 3))});
  };
  submit(1);
  pass(1000);
  constexpr uint64_t kFiftyYears = 50ull * 365 * 24 * 3600 * 1000;  // no longer that of 1970
  pass(1000, kFiftyYears);
  EXPECT_EQ(core.state().sessions.size(), 2u);
  EXPECT_THAT(submit(2), ElementsAre("submit_ack"));
  const auto& session = *core.state().sessions.at(core.state().names.at("closed"));
  EXPECT_FALSE(session.results_dropped);
  EXPECT_GE(session.closed_ms, static_cast<int64_t>(kFiftyYears)) << "in the times of now";
  pass(proto::kResultsTtlMs);
  EXPECT_TRUE(session.results_dropped) << "its time ends as ever";
}

TEST(Scheduler, AMinimumBeyondEverySlotIsMetWithThoseThatThereAre) {
  std::vector<PlanSession> sessions(2);
  sessions[0] = {.uid = 1, .application = "a", .wanted = 2, .min = UINT64_MAX};
  sessions[1] = {.uid = 2, .application = "a", .wanted = 2};
  auto plan = plan_slots(sessions, std::vector<PlanSlot>(3), 1);
  EXPECT_THAT(plan.wanted, testing::UnorderedElementsAre(1u, 1u, 2u));
}

TEST(Scheduler, MinimumsThatDoNotFitAreThoseOfSessionsWithTasksFirst) {
  std::vector<PlanSession> sessions(3);
  sessions[0] = {.uid = 1, .application = "a", .wanted = 2, .min = 2, .bound_us = 1};
  sessions[1] = {
      .uid = 2, .application = "a", .wanted = 2, .min = 1, .tasks = 5, .served_us = 1'000'000};
  sessions[2] = {.uid = 3, .application = "a", .wanted = 2, .tasks = 5};
  std::vector<PlanSlot> slots(2, {.wanted = 1, .application = "a"});
  EXPECT_THAT(plan_slots(sessions, slots, 1).wanted, testing::UnorderedElementsAre(1u, 2u));
  // What has no minimum waits: that of an idle session is kept, as it asked for.
  sessions[1].wanted = sessions[1].min = sessions[1].tasks = 0;
  EXPECT_THAT(plan_slots(sessions, slots, 1).wanted, ElementsAre(1u, 1u));
}

TEST_F(RequestsTest, NoMoreSlotsAreTakenThanEveryPlanCanLookAt) {
  start();
  auto say = [&](const Peer& peer, proto::Message message) {
    core.on(PeerMessage{Port::kExecutors, peer, links[peer].next(), std::move(message)}, now);
    return heard();
  };
  auto joins = [&](const Peer& peer) {
    links[peer] = proto::Link(++last_link);
    proto::ExecutorHello hello;
    hello.executor = hello.nonce = peer;
    hello.slots = proto::kSlotsMax;
    return say(peer, std::move(hello));
  };
  for (uint64_t i = 0; i < proto::kClusterSlotsMax / proto::kSlotsMax; i++)
    ASSERT_THAT(joins(std::to_string(i)), Contains("executor_welcome")) << i;
  EXPECT_THAT(joins("more"), ElementsAre(HasSubstr("would have 266240 slots")));
  EXPECT_THAT(joins("7"), Contains("executor_welcome")) << "its own are not counted twice";
  say("7", proto::Bye{"left"});
  EXPECT_THAT(joins("more"), Contains("executor_welcome"));
}

TEST_F(RequestsTest, AListingOfManyLongRowsFitsTheWire) {
  start();
  hello();
  constexpr size_t kSessions = 3000;
  for (size_t i = 0; i < kSessions; i++) {
    auto message = create(Durability::kStored);
    message.session = std::string(100, 'n') + std::to_string(i);
    message.spec.resources = std::string(1000, 'r');
    core.on(PeerMessage{Port::kClients, "c", links["c"].next(), std::move(message)}, now);
  }
  turn();
  core.on(PeerMessage{Port::kClients, "c", links["c"].next(),
                      proto::ListKind{++request, "session", false}},
          now);
  auto actions = core.take_actions();
  ASSERT_EQ(actions.size(), 1u);
  const auto& sent = std::get<Send>(actions[0]).message;
  auto received = proto::decode(proto::encode({}, sent), *proto::payload_of(sent));
  ASSERT_TRUE(received) << received.error().message;
  const auto& listing = std::get<proto::Listing>(received->message);
  EXPECT_EQ(proto::decode_rows(listing.payload.view())->size(), kSessions);
}

// Tasks are submitted all the time: the letters of the last ones are not written yet.
TEST_F(RequestsTest, AFullPageOfTasksSaysWhereToGoOnThoughTheLastOnesAreNotRecordedYet) {
  start();
  hello();
  hear(create(Durability::kStored));
  proto::SessionUid uid = core.state().sessions.begin()->first;
  std::string five;
  for (int i = 0; i < 5; i++) five += std::string("\xc4\x01x", 3);
  hear(proto::Submit{uid, 1, 5, 0, proto::Bytes::own(std::move(five))});
  auto ask = [&](uint64_t limit) {
    core.on(PeerMessage{Port::kClients, "c", links["c"].next(),
                        proto::GetTasks{++request, "s", 1, limit, "P", false}},
            now);
    uint64_t tag = 0;
    for (auto& action : core.take_actions()) {
      auto read = std::get_if<StoreRead>(&action);
      if (read != nullptr) tag = std::get<ReadStates>(*read).tag;
    }
    core.on(StoreEvent(StatesRead{tag, "PPPP", {}}), now);  // of five
    auto actions = core.take_actions();
    return std::get<proto::Tasks>(std::get<Send>(actions.at(0)).message).next;
  };
  EXPECT_EQ(ask(2), 3u) << "two more are known";
  EXPECT_EQ(ask(10), 0u) << "all that are recorded";
}

}  // namespace
}  // namespace flame::broker

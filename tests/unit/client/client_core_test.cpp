// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/cpp/src/core/client_core.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace flame::client {
namespace {

using proto::Code;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

/// Speaks the broker's part by hand; time stands still unless a test moves it.
class ClientCoreTest : public testing::Test {
 protected:
  /// Feeds and returns what it caused, in words.
  std::vector<std::string> on(Event event) {
    Actions actions;
    core.on(std::move(event), now, actions);
    std::vector<std::string> words;
    for (auto& action : actions) {
      std::visit([&](auto& a) { words.push_back(tell(a)); }, action);
    }
    return words;
  }
  std::vector<std::string> after_ms(int64_t ms) {
    now.mono_us += ms * 1000;
    return on(Tick{});
  }
  std::vector<std::string> hear(proto::Message message) {
    return on(Received{{broker.next(), std::move(message)}});
  }
  void connect() {
    on(Tick{});
    hear(welcome());
  }
  proto::Welcome welcome() {
    proto::Welcome w;
    w.lineage = lineage;
    return w;
  }
  proto::SessionInfo info(uint64_t request = 0) {
    proto::SessionInfo i;
    i.request = request;
    i.session = "s";
    i.uid = 7;
    return i;
  }
  void connect_with_session() {
    connect();
    on(Attach{info()});
  }
  proto::Results entry(uint64_t index) {
    return {7, index, {index + 1, 1}, "x", 1, 0, {}, {}, {}, proto::Bytes::copy("o")};
  }

  std::string tell(const OpenSocket&) { return "socket"; }
  std::string tell(const Send& send) {
    if (auto hello = std::get_if<proto::ClientHello>(&send.message)) {
      broker = proto::Link(send.envelope.link);
      sequence = 0;
      said_lineage = hello->lineage;
    }
    EXPECT_EQ(send.envelope.link, broker.id());
    EXPECT_EQ(send.envelope.sequence, ++sequence);
    std::string word(proto::name_of(proto::type_of(send.message)));
    if (auto submit = std::get_if<proto::Submit>(&send.message))
      word += " " + std::to_string(submit->number);
    if (auto ack = std::get_if<proto::ResultsAck>(&send.message))
      word += " " + std::to_string(ack->index);
    if (auto watch = std::get_if<proto::Watch>(&send.message)) {
      word += " " + std::to_string(watch->index);
      request = watch->request;
    }
    if (auto open = std::get_if<proto::OpenSession>(&send.message)) request = open->request;
    if (auto list = std::get_if<proto::ListKind>(&send.message)) request = list->request;
    if (auto create = std::get_if<proto::CreateSession>(&send.message)) {
      request = create->request;
      if (create->open_or_create) word += " or open";
    }
    return word;
  }
  std::string tell(const Answer& answer) {
    return "answer " + std::to_string(answer.ticket) + " " +
           (answer.result ? "ok" : std::string(proto::name_of(answer.result.error().code)));
  }
  std::string tell(const Submitted& s) {
    return "submitted " + std::to_string(s.ticket) + " as " + to_string(s.run);
  }
  std::string tell(const SubmitFailed& f) {
    return "submit " + std::to_string(f.ticket) + " failed " +
           std::string(proto::name_of(f.error.code));
  }
  std::string tell(const Deliver& d) { return "entry " + std::to_string(d.results.index); }
  std::string tell(const Trimmed& t) { return "trimmed to " + std::to_string(t.to); }
  std::string tell(const WatchFailed& f) {
    return "watch failed " + std::string(proto::name_of(f.error.code));
  }
  std::string tell(const Changed& c) {
    return "state " + std::string(proto::name_of(c.change.state));
  }
  std::string tell(const Progressed& p) {
    return "progress of " + std::to_string(p.progress.reports.size());
  }
  std::string tell(const Lost& l) { return "lost " + to_string(l.run); }
  std::string tell(const LinkUp&) { return "up"; }
  std::string tell(const LinkDown&) { return "down"; }
  std::string tell(const Waiting& w) { return "waiting: " + w.reason.message; }
  std::string tell(const Rejected& r) {
    return "rejected " + std::string(proto::name_of(r.error.code));
  }

  ClientCore core{{"c1", "tcp://here:1", "", "test", 5}};
  proto::Now now{10'000'000, 0};
  proto::Link broker;
  uint64_t sequence = 0;
  uint64_t request = 0;  ///< of the last request sent
  std::string lineage = "A", said_lineage;
  const std::string nobody = "waiting: No broker at tcp://here:1. Start one: flmctl up";
};

TEST_F(ClientCoreTest, SaysHelloFirstAndBeatsWhenUp) {
  EXPECT_THAT(on(Tick{}), ElementsAre("socket", "client_hello"));
  EXPECT_THAT(hear(welcome()), ElementsAre("up"));
  EXPECT_TRUE(core.up());
  EXPECT_THAT(after_ms(999), IsEmpty());
  EXPECT_THAT(after_ms(1), ElementsAre("beat"));
}

TEST_F(ClientCoreTest, TriesAgainSoonWhileNobodyIsConnected) {
  on(Tick{});
  EXPECT_THAT(on(SendFailed{}), IsEmpty());
  EXPECT_LE(core.next_deadline() - now.mono_us, 2'000);
  EXPECT_THAT(after_ms(2), ElementsAre("client_hello"));
}

TEST_F(ClientCoreTest, MakesANewSocketAfterThreeUnansweredHellos) {
  on(Tick{});
  EXPECT_THAT(after_ms(2'000), ElementsAre("client_hello", nobody));
  EXPECT_THAT(after_ms(2'000), ElementsAre("client_hello"));
  EXPECT_THAT(after_ms(2'000), ElementsAre("socket", "client_hello"));
}

TEST_F(ClientCoreTest, RefusalOfTheHelloIsFinal) {
  on(Tick{});
  on(Request{1, proto::ListKind{0, "session"}});
  EXPECT_THAT(hear(proto::ErrorReply{0, Code::kVersion, "v2 here"}),
              ElementsAre("answer 1 version", "rejected version"));
  EXPECT_EQ(core.next_deadline(), kNever);
  EXPECT_THAT(on(Request{2, proto::ListKind{0, "session"}}), ElementsAre("answer 2 version"));
}

TEST_F(ClientCoreTest, RequestsWaitForTheLinkAndAreAnsweredOnce) {
  EXPECT_THAT(on(Request{1, proto::ListKind{0, "session"}}), ElementsAre("socket", "client_hello"));
  EXPECT_THAT(hear(welcome()), ElementsAre("up", "list"));
  EXPECT_THAT(hear(proto::Listing{request}), ElementsAre("answer 1 ok"));
  EXPECT_THAT(hear(proto::Listing{request}), IsEmpty());
}

TEST_F(ClientCoreTest, RequestsGiveUpAtTheirDeadlineAndSayWhy) {
  on(Request{1, proto::ListKind{0, "session"}, 1'000'000});
  EXPECT_THAT(after_ms(1'000), ElementsAre("answer 1 no_broker", nobody));
  hear(welcome());
  on(Request{2, proto::ListKind{0, "session"}, 100'000});
  EXPECT_THAT(after_ms(100), ElementsAre("answer 2 timeout"));
}

TEST_F(ClientCoreTest, SaysWhyTheBrokerThatIsThereDoesNotServeYet) {
  on(Request{1, proto::ListKind{0, "session"}, 1'000'000});
  hear(proto::ErrorReply{0, Code::kRecovering, "Redis is loading", 100});
  EXPECT_EQ(core.not_connected().code, Code::kRecovering);
  EXPECT_THAT(core.not_connected().message, testing::HasSubstr("Redis is loading"));
  EXPECT_THAT(after_ms(100), ElementsAre("client_hello"));
  hear(welcome());
  EXPECT_TRUE(core.up());
}

TEST_F(ClientCoreTest, WhoWaitsForALinkIsToldWhyAfterASecond) {
  on(Tick{});
  hear(proto::ErrorReply{0, Code::kRecovering, "Redis is loading", 900});
  EXPECT_THAT(after_ms(900), ElementsAre("client_hello"));
  hear(proto::ErrorReply{0, Code::kRecovering, "Redis is loading", 900});
  EXPECT_EQ(core.next_deadline(), now.mono_us + 100'000);
  EXPECT_THAT(after_ms(100), ElementsAre("waiting: The broker at tcp://here:1 does not serve yet: "
                                         "Redis is loading"));
  EXPECT_THAT(after_ms(800), ElementsAre("client_hello"));
  // Another reason is said at once, the same one never again.
  EXPECT_THAT(hear(proto::ErrorReply{0, Code::kRecovering, "reading", 900}),
              ElementsAre("waiting: The broker at tcp://here:1 does not serve yet: reading"));
  EXPECT_THAT(after_ms(900), ElementsAre("client_hello"));
  EXPECT_THAT(hear(proto::ErrorReply{0, Code::kRecovering, "Redis is loading", 2'000}), IsEmpty());
  EXPECT_THAT(after_ms(1'999), IsEmpty());
}

TEST_F(ClientCoreTest, WhoWaitsForSubmitsIsToldWhyEvenWhileRequestsAreAnswered) {
  connect_with_session();
  on(SubmitRun{7, 11, 5, 0, {}});
  auto refuse = [this] {
    return hear(proto::ErrorReply{0, Code::kLostLineage, "flmctl recover", 600, 7, 1});
  };
  EXPECT_THAT(refuse(), IsEmpty());
  EXPECT_THAT(after_ms(600), ElementsAre("submit 1"));
  EXPECT_THAT(refuse(), IsEmpty());
  on(Request{1, proto::ListKind{0, "session"}});
  EXPECT_THAT(hear(proto::Listing{request}), ElementsAre("answer 1 ok"));
  EXPECT_THAT(after_ms(400), ElementsAre("beat", "waiting: flmctl recover"));
  EXPECT_THAT(after_ms(200), ElementsAre("submit 1"));
  EXPECT_THAT(hear(proto::SubmitAck{7, proto::Durability::kStored, {{1, {1, 5}}}}),
              ElementsAre("submitted 11 as 1-5"));
  EXPECT_THAT(on(SubmitRun{7, 12, 5, 0, {}}), ElementsAre("submit 2"));
}

TEST_F(ClientCoreTest, WhatPassesWithinASecondIsNotSaid) {
  connect_with_session();
  on(SubmitRun{7, 11, 5, 0, {}});
  hear(proto::ErrorReply{0, Code::kBusy, "full", 900, 7, 1});
  EXPECT_THAT(after_ms(900), ElementsAre("submit 1"));
  hear(proto::SubmitAck{7, proto::Durability::kStored, {{1, {1, 5}}}});
  on(Request{1, proto::ListKind{0, "session"}, 950'000});
  hear(proto::ErrorReply{request, Code::kStoreDown, "no Redis", 900});
  EXPECT_THAT(after_ms(900), ElementsAre("list", "beat"));
  EXPECT_THAT(after_ms(50), ElementsAre("answer 1 store_down"));
  EXPECT_THAT(after_ms(149), IsEmpty());
}

TEST_F(ClientCoreTest, LaterMeansLater) {
  connect();
  on(Request{1, proto::ListKind{0, "session"}, 1'000'000});
  EXPECT_THAT(hear(proto::ErrorReply{request, Code::kRecovering, "reading", 300}), IsEmpty());
  EXPECT_THAT(after_ms(299), IsEmpty());
  EXPECT_THAT(after_ms(1), ElementsAre("list"));
  hear(proto::ErrorReply{request, Code::kRecovering, "reading", 300});
  EXPECT_THAT(after_ms(300), ElementsAre("list"));
  // The last word before the deadline is what the caller hears.
  EXPECT_THAT(hear(proto::ErrorReply{request, Code::kStoreDown, "no Redis", 500}),
              ElementsAre("answer 1 store_down"));
}

TEST_F(ClientCoreTest, ATimeOutSaysWhyTheBrokerCouldNotRecordWhatItTook) {
  connect();
  on(Request{1, proto::CloseSession{0, "s"}, 10'000'000, true, false});
  EXPECT_THAT(hear(proto::ErrorReply{0, Code::kStoreRefused, "Redis is full", 500}), IsEmpty());
  EXPECT_THAT(after_ms(2000), Contains("waiting: Redis is full"));
  EXPECT_THAT(hear(proto::Beat{0}), IsEmpty());
  EXPECT_THAT(after_ms(9000), Contains("answer 1 store_refused"));
  on(Request{2, proto::CloseSession{0, "s"}, 10'000'000, true, false});
  hear(proto::ErrorReply{0, Code::kStoreRefused, "Redis is full", 500});
  EXPECT_THAT(hear(proto::Beat{1}), IsEmpty()) << "it records again";
  EXPECT_THAT(after_ms(11'000), Contains("answer 2 timeout"));
}

TEST_F(ClientCoreTest, LostLineageNeedsAPersonSoItIsAnAnswer) {
  connect();
  on(Request{1, proto::ListKind{0, "session"}});
  EXPECT_THAT(hear(proto::ErrorReply{request, Code::kLostLineage, "recover", 100}),
              ElementsAre("answer 1 lost_lineage"));
}

TEST_F(ClientCoreTest, ResyncLeadsToANewLinkWithTheSameRequests) {
  connect();
  on(Request{1, proto::ListKind{0, "session"}});
  on(Request{2, proto::CreateSession{0, "app-drawn1"}, kNever, true, true});
  EXPECT_THAT(on(Received{{{broker.id(), 0}, proto::Resync{"who are you"}}}), ElementsAre("down"));
  EXPECT_THAT(after_ms(1), ElementsAre("client_hello"));
  EXPECT_EQ(said_lineage, "A");
  EXPECT_THAT(hear(welcome()), ElementsAre("up", "list", "create_session or open"));
}

TEST_F(ClientCoreTest, AGapFromTheBrokerLeadsToANewLink) {
  connect();
  broker.next();  // lost
  EXPECT_THAT(hear(proto::Beat{}), ElementsAre("down"));
  EXPECT_THAT(after_ms(1), ElementsAre("client_hello"));
}

TEST_F(ClientCoreTest, MessagesOfAnOldLinkAreDropped) {
  connect();
  proto::Link old = broker;
  on(SendFailed{});
  after_ms(1);
  EXPECT_THAT(on(Received{{old.next(), proto::Beat{}}}), IsEmpty());
  EXPECT_THAT(on(Received{{old.next(), proto::Resync{"?"}}}), IsEmpty());
  EXPECT_THAT(hear(welcome()), ElementsAre("up"));
}

TEST_F(ClientCoreTest, ASilentBrokerGetsANewSocket) {
  connect();
  for (int second = 1; second < 30; second++) EXPECT_THAT(after_ms(1'000), ElementsAre("beat"));
  EXPECT_THAT(after_ms(1'000), ElementsAre("down", "socket", "client_hello"));
}

TEST_F(ClientCoreTest, SubmitsAreAcknowledgedByTicket) {
  connect_with_session();
  EXPECT_THAT(on(SubmitRun{7, 11, 5, 0, {}}), ElementsAre("submit 1"));
  EXPECT_THAT(on(SubmitRun{7, 12, 5, 0, {}}), ElementsAre("submit 2"));
  EXPECT_THAT(hear(proto::SubmitAck{7, proto::Durability::kStored, {{1, {1, 5}}, {2, {6, 5}}}}),
              ElementsAre("submitted 11 as 1-5", "submitted 12 as 6-10"));
}

TEST_F(ClientCoreTest, BusyIsRetriedWithTheSameNumber) {
  connect_with_session();
  on(SubmitRun{7, 11, 5, 0, {}});
  EXPECT_THAT(hear(proto::ErrorReply{0, Code::kBusy, "full", 40, 7, 1}), IsEmpty());
  EXPECT_THAT(on(SubmitRun{7, 12, 5, 0, {}}), IsEmpty());
  EXPECT_THAT(after_ms(40), ElementsAre("submit 1", "submit 2"));
}

TEST_F(ClientCoreTest, SubmitToAnUnknownSessionFails) {
  connect();
  EXPECT_THAT(on(SubmitRun{9, 11, 5, 0, {}}), ElementsAre("submit 11 failed gone"));
  EXPECT_FALSE(core.has_room(9));
}

TEST_F(ClientCoreTest, AfterANewLinkEverythingIsSaidAgain) {
  connect_with_session();
  on(WatchFrom{7, 0, "", ""});
  hear(proto::Watching{request, 7, 0, 0});
  hear(entry(0));
  on(SubmitRun{7, 11, 5, 0, {}});
  EXPECT_THAT(on(SendFailed{}), ElementsAre("down"));
  EXPECT_THAT(on(SubmitRun{7, 12, 5, 0, {}}), IsEmpty());
  after_ms(1);
  EXPECT_THAT(hear(welcome()), ElementsAre("up", "open_session"));
  auto opened = info(request);
  opened.last_submit = 1;  // it had arrived
  opened.done_end = 1;
  EXPECT_THAT(hear(opened), ElementsAre("state Open", "watch 1", "submit 1", "submit 2"));
}

TEST_F(ClientCoreTest, ACursorAheadOfTheBrokerGoesBackToItsEnd) {
  connect_with_session();
  on(WatchFrom{7, 0, "", ""});
  hear(proto::Watching{request, 7, 0, 0});
  hear(entry(0)), hear(entry(1));
  on(SendFailed{});
  after_ms(1);
  hear(welcome());
  auto opened = info(request);
  opened.done_end = 1;  // of a `memory` session: the broker died with the rest
  EXPECT_THAT(hear(opened), ElementsAre("state Open", "watch 1"));
}

TEST_F(ClientCoreTest, ADeletedSessionFailsWhatIsHeld) {
  connect_with_session();
  on(WatchFrom{7, 0, "", ""});
  on(SubmitRun{7, 11, 5, 0, {}});
  on(SendFailed{});
  after_ms(1);
  hear(welcome());
  EXPECT_THAT(hear(proto::ErrorReply{request, Code::kNotFound, "gone"}),
              ElementsAre("submit 11 failed not_found", "watch failed not_found"));
  EXPECT_FALSE(core.has_room(7));
}

TEST_F(ClientCoreTest, AnotherSessionOfTheSameNameIsNotOurs) {
  connect_with_session();
  on(SubmitRun{7, 11, 5, 0, {}});
  on(SendFailed{});
  after_ms(1);
  hear(welcome());
  auto other = info(request);
  other.uid = 8;
  EXPECT_THAT(hear(other), ElementsAre("submit 11 failed gone"));
}

TEST_F(ClientCoreTest, ResultsComeOnceAndInOrderAndGapsAreAskedFor) {
  connect_with_session();
  EXPECT_THAT(on(WatchFrom{7, 0, "", ""}), ElementsAre("watch 0"));
  hear(proto::Watching{request, 7, 0, 3});
  EXPECT_THAT(hear(entry(0)), ElementsAre("entry 0"));
  EXPECT_THAT(hear(entry(0)), IsEmpty());
  EXPECT_THAT(hear(entry(2)), ElementsAre("watch 1"));
  EXPECT_THAT(hear(entry(3)), IsEmpty());  // of the watch before
  hear(proto::Watching{request, 7, 1, 3});
  EXPECT_THAT(hear(entry(1)), ElementsAre("entry 1"));
  EXPECT_THAT(hear(entry(2)), ElementsAre("entry 2"));
}

TEST_F(ClientCoreTest, TrimmedResultsAreReported) {
  connect_with_session();
  on(WatchFrom{7, 2, "", ""});
  EXPECT_THAT(hear(proto::Watching{request, 7, 9, 20}), ElementsAre("trimmed to 9"));
  EXPECT_THAT(hear(entry(9)), ElementsAre("entry 9"));
}

TEST_F(ClientCoreTest, ConsumedEntriesAreAcknowledgedTogetherAfterAWhile) {
  connect_with_session();
  on(WatchFrom{7, 0, "", ""});
  hear(proto::Watching{request, 7, 0, 3});
  hear(entry(0)), hear(entry(1));
  EXPECT_THAT(on(Consumed{7, 1}), IsEmpty());
  EXPECT_THAT(on(Consumed{7, 2}), IsEmpty());
  EXPECT_THAT(after_ms(20), ElementsAre("results_ack 2"));
  EXPECT_THAT(after_ms(20), IsEmpty());
}

TEST_F(ClientCoreTest, ManyConsumedBytesAreAcknowledgedAtOnce) {
  connect_with_session();
  on(WatchFrom{7, 0, "", ""});
  hear(proto::Watching{request, 7, 0, 3});
  auto large = entry(0);
  large.payload = proto::Bytes::own(std::string(kAckBytes, 'x'));
  hear(large);
  EXPECT_THAT(on(Consumed{7, 1}), ElementsAre("results_ack 1"));
}

class BrokenLink : public ClientCoreTest {
 protected:
  void break_with_two_of_three_acknowledged() {
    connect_with_session();
    on(WatchFrom{7, 0, "", ""});
    hear(proto::Watching{request, 7, 0, 0});
    on(SubmitRun{7, 11, 5, 0, {}}), on(SubmitRun{7, 12, 5, 0, {}}), on(SubmitRun{7, 13, 5, 0, {}});
    hear(proto::SubmitAck{7, proto::Durability::kStored, {{1, {1, 5}}, {2, {6, 5}}}});
    hear(entry(0)), hear(entry(1));
    on(SendFailed{});
    after_ms(1);
  }
};

TEST_F(BrokenLink, ANewLineageNamesWhatIsLostAndGoesOn) {
  break_with_two_of_three_acknowledged();
  lineage = "B";
  hear(welcome());
  auto opened = info(request);
  opened.last_submit = 1;
  opened.done_end = 1;
  EXPECT_THAT(hear(opened), ElementsAre("lost 6-10", "state Open", "watch 1", "submit 2"));
  EXPECT_THAT(hear(proto::SubmitAck{7, proto::Durability::kStored, {{2, {6, 5}}}}),
              ElementsAre("submitted 13 as 6-10"));
}

// What is missing may still be found: only a new lineage says that somebody gave it up.
TEST_F(BrokenLink, WhileAPersonHasToDecideNothingCountsAsLost) {
  break_with_two_of_three_acknowledged();
  auto waits = welcome();
  waits.serving = false;
  hear(waits);
  auto opened = info(request);
  opened.last_submit = 1;
  opened.done_end = 1;
  EXPECT_THAT(hear(opened), ElementsAre("state Open", "submit 3"));
  EXPECT_THAT(hear(proto::ErrorReply{0, Code::kLostLineage, "recover", 1000, 7, 3}), IsEmpty());
  hear(proto::Resync{"the state was read again"});
  EXPECT_THAT(after_ms(100), ElementsAre("client_hello"));
  lineage = "B";
  hear(welcome());
  opened = info(request);
  opened.last_submit = 1;
  opened.done_end = 1;
  EXPECT_THAT(hear(opened), ElementsAre("lost 6-10", "state Open", "watch 1", "submit 2"));
}

TEST_F(ClientCoreTest, WhileAPersonHasToDecideResultsAreRead) {
  connect_with_session();
  on(WatchFrom{7, 0, "", ""});
  hear(proto::Watching{request, 7, 0, 1});
  on(SendFailed{});
  after_ms(1);
  auto waits = welcome();
  waits.serving = false;
  hear(waits);
  auto opened = info(request);
  opened.done_end = 1;
  EXPECT_THAT(hear(opened), ElementsAre("state Open", "watch 0"));
}

TEST_F(ClientCoreTest, ACursorOfAnotherLineageIsTheCallersProblem) {
  connect_with_session();
  on(WatchFrom{7, 5, "", "Z"});
  EXPECT_THAT(hear(proto::ErrorReply{request, Code::kLostLineage, "other lineage"}),
              ElementsAre("watch failed lost_lineage"));
}

TEST_F(ClientCoreTest, LeavingAcknowledgesAndSaysGoodbye) {
  connect_with_session();
  on(WatchFrom{7, 0, "", ""});
  hear(proto::Watching{request, 7, 0, 1});
  hear(entry(0));
  on(Consumed{7, 1});
  on(Request{5, proto::WaitSession{0, "s"}});
  EXPECT_THAT(on(Leave{}), ElementsAre("results_ack 1", "bye", "answer 5 interrupted"));
  EXPECT_THAT(after_ms(5'000), IsEmpty());
}

TEST_F(ClientCoreTest, WhatABrokerThatWasReplacedSaysIsNoLoss) {
  connect_with_session();
  auto greet = [&](const std::string& epoch) {
    hear(proto::Resync{"again"});
    after_ms(1000);
    auto w = welcome();
    w.epoch = epoch;
    return hear(w);
  };
  EXPECT_THAT(greet("8-aa"), ElementsAre("up", "open_session"));
  EXPECT_THAT(greet("6-bb"), IsEmpty());
  EXPECT_THAT(after_ms(1000), ElementsAre("socket", "client_hello"));
  auto w = welcome();
  w.epoch = "9-cc";
  EXPECT_THAT(hear(w), ElementsAre("up", "open_session"));
}

TEST_F(ClientCoreTest, WhoWaitsForResultsOfADeletedSessionIsTold) {
  connect_with_session();
  on(WatchFrom{7, 0, "", ""});
  hear(proto::Watching{request, 7, 0, 0});
  on(SubmitRun{7, 1, 1, 0, proto::Bytes::copy("i")});
  EXPECT_THAT(hear(proto::SessionChanged{7, proto::SessionState::kDeleting, {}, 0, "deleted"}),
              ElementsAre("state Deleting", "submit 1 failed gone", "watch failed gone"));
}

}  // namespace
}  // namespace flame::client

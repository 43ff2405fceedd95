// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/retention.hpp"

#include <gmock/gmock.h>

#include "tests/unit/broker/by_hand.hpp"

namespace flame::broker {
namespace {

constexpr proto::SessionUid kUid = (proto::SessionUid{1} << 32) + 7;
constexpr uint64_t kSegment = proto::kSegmentTasks;

/// A session with retention `read`, as Redis has it when a broker starts.
RecoveredSession read_session(uint64_t tasks, uint64_t done_first, uint64_t done_length) {
  RecoveredSession session;
  session.session = "s";
  session.fields = {{"uid", std::to_string(kUid)},
                    {"application", "echo"},
                    {"state", "Open"},
                    {"retention", "read"},
                    {"tasks", std::to_string(tasks)},
                    {"done_first", std::to_string(done_first)}};
  session.done_length = done_length;
  return session;
}

class Retention : public ByHand {
 protected:
  void recover(const RecoveredSession& session) {
    Recovered recovered = first_start();
    recovered.sessions = {session};
    core.on(StoreEvent(recovered), now);
    core.on(StoreEvent(StoreHealth{.writable = true}), now);
    turn();
    client = proto::Link(++last_link);
    say(proto::ClientHello{proto::kProtocolMinor, "", "client", "", "test"});
  }
  const Session& session() const { return *core.state().sessions.at(kUid); }
  void watch(uint64_t index) {
    hear(proto::Watch{++request, kUid, index, proto::kDeliverBytesMax, "reader", ""});
  }
  /// As say(), and what the core does then is kept. Housekeeping is due.
  void hear(proto::Message message) {
    core.on(PeerMessage{Port::kClients, "c", client.next(), std::move(message)}, now);
    run();
  }
  void run() {
    now.mono_us += proto::kUsPerSecond / 10;
    now.wall_us += proto::kUsPerSecond / 10;
    ops.clear();
    reads.clear();
    answer = "";
    while (auto batch = core.close_batch(now)) {
      for (auto& op : batch->ops) ops.push_back(op);
      core.on(StoreEvent(BatchStored{batch->number}), now);
    }
    for (auto& action : core.take_actions()) {
      if (auto read = std::get_if<StoreRead>(&action)) reads.push_back(*read);
      if (auto send = std::get_if<Send>(&action)) take_answer(send->message);
    }
    EXPECT_EQ(core.broken_invariant(), "");
  }
  template <class Op>
  std::vector<Op> all() const {
    std::vector<Op> found;
    for (const auto& op : ops) {
      if (auto one = std::get_if<Op>(&op)) found.push_back(*one);
    }
    return found;
  }
  std::string field(const std::string& name) const {
    for (const auto& put : all<PutFields>()) {
      for (const auto& [field, value] : put.fields) {
        if (field == name) return value;
      }
    }
    return "not written";
  }
  /// What the store says of the entries that it was asked for.
  void tell(std::vector<proto::Run> runs) {
    ASSERT_EQ(reads.size(), 1u);
    auto read = std::get<ReadOutputs>(reads.front());
    ASSERT_LE(runs.size(), read.count);
    std::vector<proto::Bytes> values(runs.size());
    core.on(StoreEvent(OutputsRead{read.tag, read.index_first, std::move(runs), values, {}}), now);
    run();
  }

  std::vector<StoreOp> ops;
  std::vector<StoreRead> reads;
};

// The broker before was killed between a reader's acknowledgement and the trim: nobody will ever
// read these entries again, so nobody would learn their names.
TEST_F(Retention, WhatWasReadUnderAnEarlierBrokerIsDropped) {
  auto stored = read_session(3, 0, 3);
  stored.fields.emplace_back("succeed", "3");
  stored.states = {{0, "SSS"}};
  stored.readers = {{"reader", "3 0"}};
  recover(stored);
  watch(3);
  tell({{1, 1}, {2, 1}});
  EXPECT_EQ(session().done_first, 2u);
  run();  // positions are right again
  tell({{3, 1}});
  EXPECT_EQ(session().done_first, 3u);
}

TEST_F(Retention, LettersGoWithTheLastResultOfTheirSegment) {
  auto stored = read_session(kSegment + 5, 40, 2);
  stored.fields.emplace_back("succeed", std::to_string(kSegment + 2));
  stored.fields.emplace_back("failed", "3");
  stored.fields.emplace_back("trimmed", "0:" + std::to_string(kSegment - 10));
  stored.states = {{0, std::string(kSegment, 'S')}, {1, "SSFFF"}};
  recover(stored);
  EXPECT_EQ(session().counters.failed, 3u);
  watch(42);
  tell({{kSegment - 9, 9}, {kSegment + 1, 5}});
  EXPECT_EQ(field("first_segment"), "0");
  EXPECT_EQ(field("trimmed"), "0:" + std::to_string(kSegment - 1) + " 1:5");
  EXPECT_TRUE(all<DropSegments>().empty()) << "one task of the segment is not read yet";
}

TEST_F(Retention, WhatStoodBeforeTheFirstSegmentIsKnownByItsCounters) {
  auto stored = read_session(2 * kSegment + 3, 40, 1);
  stored.fields.emplace_back("first_segment", "1");
  stored.fields.emplace_back("trimmed", "1:" + std::to_string(kSegment - 1));
  stored.fields.emplace_back("succeed", std::to_string(2 * kSegment - 6));
  stored.fields.emplace_back("failed", "4");
  stored.fields.emplace_back("cancelled", "2");
  stored.states = {{1, std::string(kSegment - 1, 'S') + "F"}, {2, "PPP"}};
  stored.inputs = {{2 * kSegment + 1, 3}};
  recover(stored);
  const auto& counters = session().counters;
  EXPECT_EQ(counters.succeed, 2 * kSegment - 6);
  EXPECT_EQ(counters.failed, 4u);
  EXPECT_EQ(counters.cancelled, 2u);
  EXPECT_EQ(counters.pending, 3u);
  watch(41);
  tell({{2 * kSegment, 1}});
  auto dropped = all<DropSegments>();
  ASSERT_EQ(dropped.size(), 1u);
  EXPECT_EQ(dropped[0].first, 1u);
  EXPECT_EQ(dropped[0].last, 1u);
  EXPECT_TRUE(dropped[0].state);
  EXPECT_EQ(field("first_segment"), "2");
  EXPECT_EQ(field("trimmed"), "");
}

class NoLetters : public Retention {
 protected:
  NoLetters() {
    auto stored = read_session(kSegment + 2, 40, 0);
    stored.fields.emplace_back("first_segment", "1");
    stored.fields.emplace_back("succeed", std::to_string(kSegment));
    stored.states = {{1, "PP"}};
    stored.inputs = {{kSegment + 1, 2}};
    recover(stored);
  }
};

TEST_F(NoLetters, AQuestionAboutTasksBeginsWithTheFirstThatHasOne) {
  hear(proto::GetTasks{++request, "s", 5, 10, "", false});
  ASSERT_EQ(reads.size(), 1u);
  auto read = std::get<ReadStates>(reads.front());
  EXPECT_EQ(read.run, (proto::Run{kSegment + 1, 2}));
}

TEST_F(NoLetters, WhoWaitsForOneIsToldAtOnce) {
  hear(proto::WatchTask{++request, "s", 5, "", false});
  EXPECT_THAT(answer, testing::HasSubstr("task 5 of session 's' has ended, and its result"));
}

// The letters go while a question is on its way to them: not the end of the list.
TEST_F(Retention, AQuestionGoesOnBehindWhatWasDroppedMeanwhile) {
  auto stored = read_session(kSegment + 2, 40, 1);
  stored.fields.emplace_back("trimmed", "0:" + std::to_string(kSegment - 1));
  stored.fields.emplace_back("succeed", std::to_string(kSegment));
  stored.states = {{0, std::string(kSegment, 'S')}, {1, "PP"}};
  stored.inputs = {{kSegment + 1, 2}};
  recover(stored);
  hear(proto::GetTasks{++request, "s", 5, 10, "", false});
  ASSERT_EQ(reads.size(), 1u);
  auto asked = std::get<ReadStates>(reads.front());
  EXPECT_EQ(asked.run.first, 5u);
  watch(41);
  tell({{kSegment, 1}});
  ASSERT_EQ(session().first_segment, 1u);
  core.on(StoreEvent(StatesRead{asked.tag, "", {}}), now);
  run();
  ASSERT_EQ(reads.size(), 1u);
  EXPECT_EQ(std::get<ReadStates>(reads.front()).run.first, kSegment + 1);
}

TEST_F(NoLetters, ADeletedSessionDropsOnlyWhatItHas) {
  hear(proto::DeleteSession{++request, "s", true});
  auto dropped = all<DropSegments>();
  ASSERT_EQ(dropped.size(), 1u);
  EXPECT_EQ(dropped[0].first, 1u);
  EXPECT_EQ(dropped[0].last, 1u);
}

}  // namespace
}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Sessions whose service does not start, beside others that wait for a slot.

#include <gmock/gmock.h>

#include <set>

#include "tests/unit/broker/by_hand.hpp"

namespace flame::broker {
namespace {

using testing::Contains;
using testing::ElementsAre;

class StartsTest : public ByHand {
 protected:
  proto::SessionUid open(const std::string& name, uint64_t tasks) {
    proto::CreateSession message;
    message.request = ++request;
    message.session = name;
    message.spec.application = "echo";
    say(std::move(message));
    auto uid = core.state().names.at(name);
    std::string inputs;
    for (uint64_t i = 0; i < tasks; i++) proto::append_element(inputs, "x");
    say(proto::Submit{uid, 1, tasks, 0, proto::Bytes::own(std::move(inputs))});
    return uid;
  }
  /// What becomes of the session's service in all slots that it has there.
  void starts(const std::string& id, proto::SessionUid uid, proto::Code code = proto::Code::kOk) {
    auto slots = core.state().executors.at(id).slots;
    for (size_t i = 0; i < slots.size(); i++) {
      if (slots[i].wanted == uid) from(id, proto::Bound{{i, slots[i].generation, uid}, code, ""});
    }
  }
  void does_not_start(const std::string& id, proto::SessionUid uid) {
    starts(id, uid, proto::Code::kTaskServiceFailed);
  }
  std::multiset<proto::SessionUid> slots(const std::string& executor) const {
    std::multiset<proto::SessionUid> wanted;
    for (const auto& slot : core.state().executors.at(executor).slots) wanted.insert(slot.wanted);
    return wanted;
  }
  void pass(int64_t us) {
    now.mono_us += us, now.wall_us += us;
    turn();
  }
  static constexpr int64_t kLongUs = 2 * int64_t{proto::kQuantumUs};
};

TEST_F(StartsTest, OnesThatWaitHaveTheSlotsOfThoseThatDoNotStart) {
  executor("e");
  auto one = open("one", 1), two = open("two", 1);
  auto neither_starts = [&] { does_not_start("e", one), does_not_start("e", two); };
  neither_starts();
  EXPECT_THAT(slots("e"), ElementsAre(one, two)) << "nobody else wants them";
  pass(kLongUs);
  auto good = open("good", 1);
  EXPECT_THAT(slots("e"), Contains(good));
  starts("e", good);
  finish({"e"});
  pass(200 * proto::kUsPerMs);
  EXPECT_THAT(slots("e"), ElementsAre(one, two)) << "tried again";
  for (int i = 0; i < 10; i++) pass(proto::kUsPerSecond), neither_starts();
  auto another = open("another", 100);
  EXPECT_THAT(slots("e"), ElementsAre(another, another));
  int tries = 0;
  for (int i = 0; i < 100; i++) {
    pass(100 * proto::kUsPerMs);
    tries += slots("e").count(another) < 2 ? 1 : 0;
    neither_starts();
    ASSERT_THAT(slots("e"), ElementsAre(another, another));
  }
  EXPECT_GE(tries, 2);
  EXPECT_LE(tries, 6) << "every 5 s";
}

TEST_F(StartsTest, AServiceThatTakesLongToFailWaitsAsLong) {
  executor("e");
  auto slow = open("slow", 2), good = open("good", 100);
  starts("e", good);
  ASSERT_THAT(slots("e"), ElementsAre(slow, good));
  pass(30 * proto::kUsPerSecond);
  does_not_start("e", slow);
  ASSERT_THAT(slots("e"), ElementsAre(good, good));
  pass(29 * proto::kUsPerSecond);
  EXPECT_THAT(slots("e"), ElementsAre(good, good));
  pass(proto::kUsPerSecond);
  EXPECT_THAT(slots("e"), ElementsAre(slow, good));
}

TEST_F(StartsTest, OneThatStartsOnAnotherExecutorKeepsItsTurn) {
  executor("broken");
  executor("whole");
  auto one = open("one", 4);
  does_not_start("broken", one);
  starts("whole", one);
  does_not_start("broken", one);
  auto good = open("good", 4);
  pass(kLongUs);
  EXPECT_EQ(slots("whole").count(one) + slots("broken").count(one), 2u);
  EXPECT_EQ(slots("whole").count(good) + slots("broken").count(good), 2u);
}

TEST_F(StartsTest, OneThatServedAndDoesNotStartAgainWaitsToo) {
  executor("e");
  auto one = open("one", 4);
  starts("e", one);
  pass(3600 * proto::kUsPerSecond);
  does_not_start("e", one);
  auto good = open("good", 4);
  EXPECT_THAT(slots("e"), ElementsAre(good, good));
  pass(200 * proto::kUsPerMs);
  EXPECT_THAT(slots("e"), ElementsAre(one, good)) << "not for as long as it served";
}

TEST_F(StartsTest, AServiceThatWasCorrectedIsTriedAtOnce) {
  executor("e");
  auto one = open("one", 1);
  for (int i = 0; i < 9; i++) does_not_start("e", one), pass(proto::kUsPerSecond);
  auto good = open("good", 100);
  ASSERT_THAT(slots("e"), ElementsAre(good, good));
  starts("e", good);
  say(proto::UpdateApplication{++request, "echo", proto::Map{{"command", "/bin/cat"}}});
  EXPECT_THAT(slots("e"), ElementsAre(one, good));
}

}  // namespace
}  // namespace flame::broker

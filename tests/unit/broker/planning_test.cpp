// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// What a plan costs where many sessions are open, or closed and kept.

#include <gmock/gmock.h>

#include "tests/unit/broker/by_hand.hpp"

namespace flame::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Key;

class PlanningTest : public ByHand {
 protected:
  proto::SessionUid create(const std::string& name, uint64_t min_instances = 0) {
    proto::CreateSession message;
    message.request = ++request;
    message.session = name;
    message.spec.application = "echo";
    message.spec.min_instances = min_instances;
    say(std::move(message));
    return core.state().names.at(name);
  }
};

TEST_F(PlanningTest, OnlySessionsThatHaveOrWantSomethingAreLookedAt) {
  auto first = create("first");
  create("second");
  create("third");
  say(proto::CloseSession{++request, "third"});
  EXPECT_THAT(core.state().to_plan, IsEmpty());
  submit(1);  // to the first
  EXPECT_THAT(core.state().to_plan, ElementsAre(Key(first))) << "until somebody takes them";
  auto kept = create("kept", 1);
  EXPECT_THAT(core.state().to_plan, ElementsAre(Key(first), Key(kept)));
  executor("e");
  bound("e");
  finish({"e"});
  EXPECT_EQ(core.state().sessions.at(first)->counters.succeed, 1u);
  EXPECT_THAT(core.state().to_plan, ElementsAre(Key(first), Key(kept))) << "it has a slot";
}

}  // namespace
}  // namespace flame::broker

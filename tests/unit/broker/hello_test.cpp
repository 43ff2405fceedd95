// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Who is greeted and who is not. Another major version never becomes a message: that is the
// codec's.
#include <gmock/gmock.h>

#include "tests/unit/broker/by_hand.hpp"

namespace flame::broker {
namespace {

class HelloTest : public ByHand {
 protected:
  /// What a stranger is told: the message's name, or the error.
  std::string told(Port port, proto::Message hello) {
    proto::Link link(++last_link);
    core.on(PeerMessage{port, "stranger", link.next(), std::move(hello)}, now);
    for (auto& action : core.take_actions()) {
      auto send = std::get_if<Send>(&action);
      if (send == nullptr || send->peer != "stranger") continue;
      auto error = std::get_if<proto::ErrorReply>(&send->message);
      if (error == nullptr) return std::string(proto::name_of(proto::type_of(send->message)));
      EXPECT_EQ(send->envelope.link, link.id());
      return std::string(proto::name_of(error->code)) + ": " + error->message;
    }
    return "nothing";
  }
  static proto::ExecutorHello executor_of(const std::string& cluster) {
    proto::ExecutorHello hello;
    hello.cluster = cluster;
    hello.executor = "e";
    hello.nonce = "n";
    hello.slots = 1;
    return hello;
  }
};

TEST_F(HelloTest, APeerOfAnotherClusterIsToldWhichOneThisIs) {
  constexpr const char* kRefusal = "cluster: this broker serves cluster 'default', not 'prod\\x1b'";
  proto::ClientHello client{proto::kProtocolMinor, "prod\x1b", "someone", "", "test"};
  EXPECT_EQ(told(Port::kClients, client), kRefusal);
  EXPECT_EQ(told(Port::kExecutors, executor_of("prod\x1b")), kRefusal);
  EXPECT_EQ(core.state().totals.rejected.at("cluster"), 2u);
  EXPECT_TRUE(core.state().executors.empty());
  for (const char* cluster : {"default", ""}) {
    client.cluster = cluster;
    EXPECT_EQ(told(Port::kClients, client), "welcome");
    EXPECT_EQ(told(Port::kExecutors, executor_of(cluster)), "executor_welcome");
  }
}

}  // namespace
}  // namespace flame::broker

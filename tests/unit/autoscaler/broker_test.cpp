// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/broker.hpp"

#include <gmock/gmock.h>

#include <optional>

#include "proto/codec.hpp"
#include "proto/link.hpp"
#include "runtime/clock.hpp"

namespace flame::autoscaler {
namespace {

using ::testing::HasSubstr;

/// Refuses who asks for another cluster, and says ok to everything else; in the loop of the one who
/// asks.
class Listener {
 public:
  explicit Listener(runtime::EventLoop& loop)
      : loop_(loop), socket_(context_, runtime::Socket::Kind::kRouter) {
    EXPECT_TRUE(socket_.bind("tcp://127.0.0.1:*"));
    loop_.add_socket(socket_, [this] { read(); });
  }
  ~Listener() { loop_.remove_socket(socket_); }

  std::string endpoint() const { return socket_.endpoint(); }
  std::string cluster = "green";
  int hellos = 0;

 private:
  void read() {
    runtime::Received received;
    while (socket_.receive(received)) {
      auto decoded = proto::decode(received.header, received.payload);
      ASSERT_TRUE(decoded);
      if (auto hello = std::get_if<proto::ClientHello>(&decoded->message)) {
        hellos++;
        link_ = proto::Link(decoded->envelope.link);
        if (hello->cluster == cluster) {
          send(received.peer, proto::Welcome{.epoch = "1-fake", .lineage = "lineage"});
        } else {
          send(received.peer, proto::ErrorReply{0, proto::Code::kCluster, "not " + cluster});
        }
      } else if (auto hold = std::get_if<proto::HoldExecutor>(&decoded->message)) {
        send(received.peer, proto::Ok{hold->request});
      }
    }
  }
  void send(const std::string& peer, const proto::Message& message) {
    socket_.send(peer, proto::encode(link_.next(), message), nullptr);
  }

  runtime::EventLoop& loop_;
  runtime::SocketContext context_;
  runtime::Socket socket_;
  proto::Link link_;
};

class AutoscalersBroker : public ::testing::Test {
 protected:
  proto::Status rest() {
    std::optional<proto::Status> answer;
    broker_.rest("executor", [&](auto status) { answer = status; });
    while (!answer) loop_.turn(-1);
    return *answer;
  }

  runtime::EventLoop loop_;
  Listener listener_{loop_};
  Broker broker_{loop_, listener_.endpoint(), "local"};
};

TEST_F(AutoscalersBroker, OneThatRefusedIsAskedAgainAndMayBeAnotherOne) {
  for (int times : {1, 2}) {
    auto refused = rest();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, proto::Code::kCluster);
    EXPECT_THAT(refused.error().message, HasSubstr("not green"));
    EXPECT_EQ(listener_.hellos, times);  // only with a question
  }
  listener_.cluster = "local";
  EXPECT_TRUE(rest());
  EXPECT_TRUE(rest());
  EXPECT_EQ(listener_.hellos, 3);
}

}  // namespace
}  // namespace flame::autoscaler

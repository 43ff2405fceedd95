// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Over real loopback TCP; raw libzmq plays the peer that does not follow our rules.
#include "runtime/socket.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include <array>

#include "proto/limits.hpp"
#include "runtime/clock.hpp"
#include "runtime/event_loop.hpp"

namespace flame::runtime {

namespace {

class SocketTest : public testing::Test {
 protected:
  SocketTest() {
    EXPECT_TRUE(router_.bind("tcp://127.0.0.1:*"));
    loop_.add_socket(router_, [this] {
      Received message;
      while (router_.receive(message)) at_router_.push_back(message);
    });
  }
  ~SocketTest() override { loop_.remove_socket(router_); }

  template <class Done>
  bool turn_until(Done done) {
    int64_t give_up = read_clock().mono_us + 10 * proto::kUsPerSecond;
    while (!done()) {
      if (read_clock().mono_us > give_up) return false;
      loop_.turn(2'000);
    }
    return true;
  }
  // A dealer accepts nothing before its connection stands.
  bool send(Socket& dealer, const std::string& header, const proto::Bytes* payload = nullptr) {
    return turn_until([&] { return dealer.send("", header, payload) == Sent::kYes; });
  }
  bool receive(Socket& socket, Received& out) {
    return turn_until([&] { return socket.receive(out); });
  }

  SocketContext context_;
  Socket router_{context_, Socket::Kind::kRouter};
  EventLoop loop_;
  std::vector<Received> at_router_;
};

}  // namespace

TEST_F(SocketTest, AMessageGoesThereAndBack) {
  Socket dealer(context_, Socket::Kind::kDealer);
  ASSERT_TRUE(dealer.connect(router_.endpoint()));
  auto payload = proto::Bytes::copy("payload");
  ASSERT_TRUE(send(dealer, "header", &payload));
  ASSERT_TRUE(turn_until([&] { return at_router_.size() == 1; }));
  EXPECT_EQ(at_router_[0].header, "header");
  EXPECT_EQ(at_router_[0].payload, payload);
  EXPECT_EQ(at_router_[0].frames, 2u);
  EXPECT_EQ(router_.send(at_router_[0].peer, "answer", nullptr), Sent::kYes);
  Received answer;
  ASSERT_TRUE(receive(dealer, answer));
  EXPECT_EQ(answer.header, "answer");
  EXPECT_EQ(answer.frames, 1u);
  EXPECT_TRUE(answer.payload.empty());
}

TEST_F(SocketTest, AnUnknownAddressIsUnroutableAndNotSilent) {
  EXPECT_EQ(router_.send("nobody", "header", nullptr), Sent::kUnroutable);
  auto payload = proto::Bytes::own(std::string(100'000, 'x'));
  EXPECT_EQ(router_.send("nobody", "header", &payload), Sent::kUnroutable);
  // The socket is not left in the middle of a message.
  Socket dealer(context_, Socket::Kind::kDealer);
  ASSERT_TRUE(dealer.connect(router_.endpoint()));
  ASSERT_TRUE(send(dealer, "header"));
  ASSERT_TRUE(turn_until([&] { return at_router_.size() == 1; }));
  EXPECT_EQ(router_.send(at_router_[0].peer, "answer", nullptr), Sent::kYes);
}

TEST_F(SocketTest, APeerThatLeftBecomesUnroutable) {
  std::string peer;
  {
    Socket dealer(context_, Socket::Kind::kDealer);
    ASSERT_TRUE(dealer.connect(router_.endpoint()));
    ASSERT_TRUE(send(dealer, "header"));
    ASSERT_TRUE(turn_until([&] { return at_router_.size() == 1; }));
    peer = at_router_[0].peer;
  }
  EXPECT_TRUE(turn_until([&] { return router_.send(peer, "late", nullptr) == Sent::kUnroutable; }));
}

TEST_F(SocketTest, ADealerWithoutAConnectionSaysSoAtOnce) {
  Socket dealer(context_, Socket::Kind::kDealer);
  // A port that is taken but not listened on: nobody answers there.
  int taken = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(taken, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(getsockname(taken, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ASSERT_TRUE(dealer.connect("tcp://127.0.0.1:" + std::to_string(ntohs(address.sin_port))));
  EXPECT_EQ(dealer.send("", "header", nullptr), Sent::kFull) << "and does not wait";
  Received message;
  EXPECT_FALSE(dealer.receive(message));
  close(taken);
}

TEST_F(SocketTest, ATakenPortIsAnErrorThatNamesIt) {
  Socket second(context_, Socket::Kind::kRouter);
  auto status = second.bind(router_.endpoint());
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, proto::Code::kAlreadyExists);
  EXPECT_NE(status.error().message.find(router_.endpoint()), std::string::npos);
  EXPECT_FALSE(second.bind("nonsense"));
  EXPECT_FALSE(second.connect("tcp://"));
}

TEST_F(SocketTest, ALargePayloadIsSharedNotCopied) {
  Socket dealer(context_, Socket::Kind::kDealer);
  ASSERT_TRUE(dealer.connect(router_.endpoint()));
  auto owner = std::make_shared<std::string>(proto::MiB, 'x');
  std::weak_ptr<std::string> watch = owner;
  {
    auto payload = proto::Bytes::share(owner, *owner);
    owner.reset();
    ASSERT_TRUE(send(dealer, "header", &payload));
  }
  ASSERT_TRUE(turn_until([&] { return at_router_.size() == 1; }));
  EXPECT_EQ(at_router_[0].payload.size(), proto::MiB);
  // libzmq releases what it was given once it is on its way.
  EXPECT_TRUE(turn_until([&] { return watch.expired(); }));
  auto slice = at_router_[0].payload.slice(10, 10);
  at_router_.clear();
  EXPECT_EQ(slice.view(), "xxxxxxxxxx") << "a slice keeps the received frame alive";
}

namespace {

// A DEALER with none of our settings.
struct RawDealer {
  RawDealer(SocketContext& context, const std::string& endpoint, const std::string& address = "")
      : handle(zmq_socket(context.handle(), ZMQ_DEALER)) {
    int linger = 0;
    if (!address.empty()) {
      zmq_setsockopt(handle, ZMQ_ROUTING_ID, address.data(), address.size());
    }
    zmq_setsockopt(handle, ZMQ_LINGER, &linger, sizeof linger);
    EXPECT_EQ(zmq_connect(handle, endpoint.c_str()), 0);
  }
  ~RawDealer() { zmq_close(handle); }
  void send(std::vector<std::string> frames) {
    for (size_t i = 0; i < frames.size(); i++) {
      bool more = i + 1 < frames.size();
      EXPECT_GE(zmq_send(handle, frames[i].data(), frames[i].size(), more ? ZMQ_SNDMORE : 0), 0);
    }
  }
  /// How many messages there were.
  int read_all() {
    int count = 0;
    char byte;
    while (zmq_recv(handle, &byte, 1, ZMQ_DONTWAIT) >= 0) count++;
    return count;
  }
  void* handle;
};

}  // namespace

TEST_F(SocketTest, MessagesOfManyFramesAreReadOffWithTheirCount) {
  RawDealer raw(context_, router_.endpoint());
  raw.send({"a", "b", "c"});
  raw.send({"h", std::string(10'000, 'p'), std::string(10'000, 'q'), "r"});
  raw.send({""});
  raw.send({"good", "payload"});
  ASSERT_TRUE(turn_until([&] { return at_router_.size() == 4; }));
  EXPECT_EQ(at_router_[0].frames, 3u);
  EXPECT_EQ(at_router_[1].frames, 4u);
  EXPECT_EQ(at_router_[1].payload, proto::Bytes::own(std::string(10'000, 'p')))
      << "not overwritten";
  EXPECT_EQ(at_router_[2].frames, 1u);
  EXPECT_EQ(at_router_[3].header, "good");
  EXPECT_EQ(at_router_[3].payload.view(), "payload");
}

TEST_F(SocketTest, AMessageAboveTheLimitNeverArrivesAndHarmsNobodyElse) {
  RawDealer raw(context_, router_.endpoint());
  Socket good(context_, Socket::Kind::kDealer);
  ASSERT_TRUE(good.connect(router_.endpoint()));
  raw.send({"header", std::string(proto::kMessageBytesMax + 1, 'x')});
  ASSERT_TRUE(send(good, "good"));
  ASSERT_TRUE(turn_until([&] { return !at_router_.empty(); }));
  for (const auto& message : at_router_) EXPECT_EQ(message.header, "good");
}

TEST_F(SocketTest, APeerThatReadsNothingFillsOnlyItsOwnQueue) {
  RawDealer lazy(context_, router_.endpoint(), "lazy");
  lazy.send({"hello"});
  Socket good(context_, Socket::Kind::kDealer);
  ASSERT_TRUE(good.connect(router_.endpoint()));
  ASSERT_TRUE(send(good, "hello"));
  ASSERT_TRUE(turn_until([&] { return at_router_.size() == 2; }));
  std::string good_peer = at_router_[at_router_[0].peer == "lazy" ? 1 : 0].peer;
  // Without ROUTER_MANDATORY libzmq would drop what does not fit, and say that it was sent.
  int taken = 0;
  Sent last = Sent::kYes;
  for (; taken < 10'000'000 && last == Sent::kYes; taken++)
    last = router_.send("lazy", "x", nullptr);
  EXPECT_EQ(last, Sent::kFull);
  taken--;
  EXPECT_EQ(router_.send(good_peer, "answer", nullptr), Sent::kYes);
  Received answer;
  ASSERT_TRUE(receive(good, answer));
  EXPECT_EQ(answer.header, "answer");
  int arrived = 0;
  EXPECT_TRUE(turn_until([&] { return (arrived += lazy.read_all()) == taken; })) << arrived;
}

TEST_F(SocketTest, AnAddressThatIsClaimedTwiceStaysWithTheFirst) {
  RawDealer first(context_, router_.endpoint(), "same");
  first.send({"first"});
  ASSERT_TRUE(turn_until([&] { return at_router_.size() == 1; }));
  RawDealer second(context_, router_.endpoint(), "same");
  second.send({"second"});
  Socket good(context_, Socket::Kind::kDealer);
  ASSERT_TRUE(good.connect(router_.endpoint()));
  ASSERT_TRUE(send(good, "good"));
  ASSERT_TRUE(turn_until([&] { return at_router_.size() == 2; }));
  EXPECT_EQ(at_router_[1].header, "good") << "and nothing of the second";
  EXPECT_EQ(router_.send("same", "secret", nullptr), Sent::kYes);
  EXPECT_TRUE(turn_until([&] { return first.read_all() == 1; }));
  EXPECT_EQ(second.read_all(), 0);
}

TEST_F(SocketTest, WhatNobodyTakesDoesNotHoldUpTheEnd) {
  // Takes one message, and the kernels' buffers some more.
  void* lazy = zmq_socket(context_.handle(), ZMQ_ROUTER);
  int one = 1;
  zmq_setsockopt(lazy, ZMQ_RCVHWM, &one, sizeof one);
  ASSERT_EQ(zmq_bind(lazy, "tcp://127.0.0.1:*"), 0);
  std::array<char, 64> endpoint{};
  size_t size = endpoint.size();
  zmq_getsockopt(lazy, ZMQ_LAST_ENDPOINT, endpoint.data(), &size);
  int64_t from_us = 0;
  {
    SocketContext context;
    Socket dealer(context, Socket::Kind::kDealer);
    ASSERT_TRUE(dealer.connect(endpoint.data()));
    auto payload = proto::Bytes::own(std::string(proto::MiB, 'x'));
    for (int i = 0; i < 100; i++) ASSERT_TRUE(send(dealer, "header", &payload));
    from_us = read_clock().mono_us;
  }
  EXPECT_LT(read_clock().mono_us - from_us, 5 * proto::kUsPerSecond);
  zmq_close(lazy);
}

TEST(Libzmq, DrawsOtherNumbersInEachProcess) {
  // It never seeds what it draws addresses and pauses from; SocketContext does.
  auto drawn = [] {
    srand(1);  // as every process begins
    SocketContext context;
    return std::pair(rand(), rand());
  };
  EXPECT_NE(drawn(), drawn());
}

TEST_F(SocketTest, TheLoopDrainsWhatWaitsAndDisabledSocketsKeepTheirs) {
  Socket dealer(context_, Socket::Kind::kDealer);
  ASSERT_TRUE(dealer.connect(router_.endpoint()));
  for (int i = 0; i < 1000; i++) ASSERT_TRUE(send(dealer, std::to_string(i)));
  ASSERT_TRUE(turn_until([&] { return at_router_.size() == 1000; }));
  for (size_t i = 0; i < 1000; i++) EXPECT_EQ(at_router_[i].header, std::to_string(i));
  loop_.set_enabled(router_, false);
  ASSERT_TRUE(send(dealer, "waits"));
  ASSERT_TRUE(turn_until([&] { return router_.readable(); }));
  loop_.turn(0);
  EXPECT_EQ(at_router_.size(), 1000u);
  loop_.set_enabled(router_, true);
  EXPECT_TRUE(turn_until([&] { return at_router_.size() == 1001; })) << "no new edge is needed";
}

TEST_F(SocketTest, AHandlerThatTakesOneAtATimeIsCalledAgain) {
  Socket other(context_, Socket::Kind::kRouter);
  ASSERT_TRUE(other.bind("tcp://127.0.0.1:*"));
  int taken = 0;
  loop_.add_socket(other, [&] {
    Received message;
    taken += other.receive(message);
  });
  Socket dealer(context_, Socket::Kind::kDealer);
  ASSERT_TRUE(dealer.connect(other.endpoint()));
  for (int i = 0; i < 50; i++) ASSERT_TRUE(send(dealer, "x"));
  EXPECT_TRUE(turn_until([&] { return taken == 50; }));
  loop_.remove_socket(other);
}

TEST_F(SocketTest, TwoDealersHaveDifferentAddresses) {
  Socket first(context_, Socket::Kind::kDealer), second(context_, Socket::Kind::kDealer);
  for (Socket* dealer : {&first, &second}) {
    ASSERT_TRUE(dealer->connect(router_.endpoint()));
    ASSERT_TRUE(send(*dealer, "hello"));
  }
  ASSERT_TRUE(turn_until([&] { return at_router_.size() == 2; }));
  EXPECT_NE(at_router_[0].peer, at_router_[1].peer);
  EXPECT_EQ(at_router_[0].peer.size(), 16u);
}

}  // namespace flame::runtime

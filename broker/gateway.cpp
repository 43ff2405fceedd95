// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/gateway.hpp"

#include "proto/codec.hpp"
#include "runtime/log.hpp"

namespace flame::broker {

namespace {
// Messages taken in one turn: enough to fill a batch, few enough to answer Redis in between.
constexpr int kMessagesPerTurn = 256;
}  // namespace

Gateway::Gateway(runtime::SocketContext& context, runtime::EventLoop& loop, Port port, Core& core)
    : loop_(loop), port_(port), core_(core), socket_(context, runtime::Socket::Kind::kRouter) {}

Gateway::~Gateway() { loop_.remove_socket(socket_); }

proto::Status Gateway::listen(const std::string& endpoint) {
  if (auto status = socket_.bind(endpoint); !status) return status;
  loop_.add_socket(socket_, [this] { read(); });
  return {};
}

bool Gateway::accepts() const {
  return port_ == Port::kClients ? core_.accepts_clients() : core_.accepts_executors();
}

void Gateway::set_reading(bool reading) {
  reading_ = reading;
  loop_.set_enabled(socket_, reading);
}

void Gateway::read() {
  runtime::Received received;
  for (int i = 0; i < kMessagesPerTurn; i++) {
    if (!accepts() || i + 1 == kMessagesPerTurn) {
      drained_ = false;
      return;
    }
    if (!socket_.receive(received)) return;
    if (received.frames == 0 || received.frames > 2) {
      core_.on(
          BadFrame{
              port_, received.peer, {proto::Code::kBadFrame, "a message has one or two frames"}},
          loop_.now());
      continue;
    }
    auto decoded = proto::decode(received.header, received.payload);
    if (!decoded) {
      if (runtime::log::once_a_second("bad frame")) {
        runtime::log::warn("bad frame", {{"error", decoded.error().message}});
      }
      core_.on(BadFrame{port_, received.peer, decoded.error()}, loop_.now());
      continue;
    }
    core_.on(PeerMessage{port_, received.peer, decoded->envelope, std::move(decoded->message)},
             loop_.now());
  }
}

void Gateway::send(const Send& send, const proto::Now& now) {
  std::string header = proto::encode(send.envelope, send.message);
  switch (socket_.send(send.peer, header, proto::payload_of(send.message))) {
    case runtime::Sent::kYes:
      return;
    case runtime::Sent::kUnroutable:
      core_.on(PeerGone{port_, send.peer}, now);
      return;
    case runtime::Sent::kFull:
      // The peer's link will show the gap; with windows in force this is rare.
      if (runtime::log::once_a_second("full")) runtime::log::warn("a peer's queue is full");
      return;
  }
}

}  // namespace flame::broker

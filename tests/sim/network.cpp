// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/sim/network.hpp"

#include <algorithm>

#include "proto/codec.hpp"

namespace flame::sim {

void Wire::open() {
  network_.break_connection(*this);
  open_ = true;
  network_.connect_later(*this);
}

void Wire::close() {
  open_ = false;
  network_.break_connection(*this);
}

bool Wire::send(const proto::Envelope& envelope, const proto::Message& message) {
  return network_.send_up(*this, envelope, message);
}

Wire& Network::make_wire(broker::Port port, const std::string& name, Dialer& dialer) {
  return *wires_.emplace_back(std::make_unique<Wire>(*this, port, name, dialer));
}

void Network::listener_gone(Listener& listener) {
  for (auto& wire : wires_) {
    if (wire->to_ == &listener) break_connection(*wire);
  }
}

void Network::break_connection(Wire& wire) {
  wire.connection_++;
  wire.to_ = nullptr;
  peers_.erase(wire.peer_);
  wire.peer_.clear();
  if (wire.open_) connect_later(wire);
}

// libzmq tries again by itself, with a back-off that the tools set to at most half a second.
void Network::connect_later(Wire& wire) {
  world_.after(world_.rng().between(100, 100'000), [this, &wire, connection = wire.connection_] {
    if (!wire.open_ || wire.connection_ != connection || wire.to_ != nullptr) return;
    std::vector<Listener*> up;
    for (auto listener : listeners_) {
      if (listener->listening()) up.push_back(listener);
    }
    if (up.empty()) return connect_later(wire);
    wire.to_ = up[world_.rng().below(up.size())];
    wire.connection_++;
    wire.peer_ = wire.name_ + "#" + std::to_string(wire.connection_);
    wire.last_up_us_ = wire.last_down_us_ = 0;
    peers_[wire.peer_] = &wire;
  });
}

std::vector<int64_t> Network::arrivals(int64_t& last_us, bool cut) {
  Rng& rng = world_.rng();
  if (cut || (weather.loss > 0 && rng.chance(weather.loss))) return {};
  int64_t at = world_.now_us() + weather.delay_us + rng.between(0, weather.jitter_us);
  bool overtakes = weather.overtake > 0 && rng.chance(weather.overtake);
  if (!overtakes) at = last_us = std::max(at, last_us);
  std::vector<int64_t> times = {at};
  if (weather.duplicate > 0 && rng.chance(weather.duplicate))
    times.push_back(at + rng.between(0, 5'000));
  return times;
}

bool Network::survives_codec(const proto::Envelope& envelope, const proto::Message& message) {
  const proto::Bytes* payload = proto::payload_of(message);
  auto decoded = proto::decode(proto::encode(envelope, message),
                               payload == nullptr ? proto::Bytes() : *payload);
  if (decoded && decoded->envelope == envelope && decoded->message == message) return true;
  world_.fail(
      "a " + std::string(proto::name_of(proto::type_of(message))) +
      " does not survive the codec: " + (decoded ? "it is another one" : decoded.error().message));
  return false;
}

bool Network::send_up(Wire& wire, const proto::Envelope& envelope, const proto::Message& message) {
  if (wire.to_ == nullptr) return false;
  if (through_codec && !survives_codec(envelope, message)) return true;
  for (int64_t at : arrivals(wire.last_up_us_, world_.now_us() < wire.cut_up_until_us_)) {
    // What a dead process or a broken connection sent is in flight and may still arrive.
    broker::PeerMessage up{wire.port_, wire.peer_, envelope, message};
    world_.at(at, [to = wire.to_, up = std::move(up)]() mutable {
      if (to->listening()) to->receive(std::move(up));
    });
  }
  return true;
}

bool Network::send_down(Listener& from, const broker::Peer& peer, const proto::Envelope& envelope,
                        const proto::Message& message) {
  auto found = peers_.find(peer);
  if (found == peers_.end() || found->second->to_ != &from) return false;
  Wire& wire = *found->second;
  if (through_codec && !survives_codec(envelope, message)) return true;
  for (int64_t at : arrivals(wire.last_down_us_, world_.now_us() < wire.cut_down_until_us_)) {
    world_.at(at, [&wire, connection = wire.connection_, envelope, message] {
      if (wire.connection_ == connection) wire.dialer_.receive(envelope, message);
    });
  }
  return true;
}

void Network::cut(Wire& wire, bool up, bool down, int64_t until_us) {
  if (up) wire.cut_up_until_us_ = until_us;
  if (down) wire.cut_down_until_us_ = until_us;
}

void Network::heal() {
  weather.loss = weather.duplicate = weather.overtake = 0;
  for (auto& wire : wires_) wire->cut_up_until_us_ = wire->cut_down_until_us_ = 0;
}

}  // namespace flame::sim

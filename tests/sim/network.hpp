// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The sockets between brokers, executors and clients. Worse than TCP on purpose: a message may be
// lost, come twice or overtake another; a connection may be cut without anybody being told; a new
// connection has a new address.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "broker/core/core.hpp"
#include "tests/sim/world.hpp"

namespace flame::sim {

class Network;

/// The ROUTER side.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual bool listening() const = 0;
  virtual void receive(broker::PeerMessage message) = 0;
};

/// The DEALER side.
class Dialer {
 public:
  virtual ~Dialer() = default;
  virtual void receive(const proto::Envelope& envelope, const proto::Message& message) = 0;
};

struct Weather {
  double loss = 0, duplicate = 0, overtake = 0;
  int64_t delay_us = 50, jitter_us = 200;
};

/// One socket of a client or an executor.
class Wire {
 public:
  Wire(Network& network, broker::Port port, std::string name, Dialer& dialer)
      : network_(network), port_(port), name_(std::move(name)), dialer_(dialer) {}

  /// A new socket: the old one's address is gone; connects after a while.
  void open();
  /// The process ended. What it sent may still arrive.
  void close();
  /// False: nobody is connected.
  bool send(const proto::Envelope& envelope, const proto::Message& message);
  const std::string& name() const { return name_; }

 private:
  friend class Network;
  Network& network_;
  broker::Port port_;
  std::string name_;
  Dialer& dialer_;
  bool open_ = false;
  Listener* to_ = nullptr;
  uint64_t connection_ = 0;  ///< rises with every change
  broker::Peer peer_;
  int64_t cut_up_until_us_ = 0, cut_down_until_us_ = 0;
  int64_t last_up_us_ = 0, last_down_us_ = 0;
};

class Network {
 public:
  explicit Network(World& world) : world_(world) {}

  Weather weather;
  /// Encode and decode every message on its way.
  bool through_codec = false;

  Wire& make_wire(broker::Port port, const std::string& name, Dialer& dialer);
  void add_listener(Listener& listener) { listeners_.push_back(&listener); }
  /// Its connections break; they connect again, there or elsewhere.
  void listener_gone(Listener& listener);
  /// False: nobody is connected under this address.
  bool send_down(Listener& from, const broker::Peer& peer, const proto::Envelope& envelope,
                 const proto::Message& message);

  // ---- faults
  void break_connection(Wire& wire);
  void cut(Wire& wire, bool up, bool down, int64_t until_us);
  void heal();
  std::vector<std::unique_ptr<Wire>>& wires() { return wires_; }

 private:
  friend class Wire;
  void connect_later(Wire& wire);
  bool send_up(Wire& wire, const proto::Envelope& envelope, const proto::Message& message);
  /// When a message arrives that leaves now, after `last_us`; several times, or never.
  std::vector<int64_t> arrivals(int64_t& last_us, bool cut);
  bool survives_codec(const proto::Envelope& envelope, const proto::Message& message);

  World& world_;
  std::vector<Listener*> listeners_;
  std::vector<std::unique_ptr<Wire>> wires_;
  std::map<broker::Peer, Wire*> peers_;
};

}  // namespace flame::sim

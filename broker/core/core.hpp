// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The broker's decisions: a pure state machine. Events in, actions out; no socket, no Redis, no
// clock, no thread. The shell (broker/app) and the simulation (tests/sim) drive it the same way:
//
//   for each thing that happened:  core.on(event, now)
//   at the end of the turn:        core.tick(now, sockets were drained)
//                                  if the store is free: batch = core.close_batch(now) -> store
//                                  perform core.take_actions()

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "broker/core/state.hpp"

namespace flame::broker {

struct PeerMessage {
  Port port = Port::kClients;
  Peer peer;
  proto::Envelope envelope;
  proto::Message message;
};
/// A frame that is no message: counted, answered, harmless.
struct BadFrame {
  Port port = Port::kClients;
  Peer peer;
  proto::Error error;
};
/// A send found nobody at the address.
struct PeerGone {
  Port port = Port::kClients;
  Peer peer;
};
using Event = std::variant<PeerMessage, BadFrame, PeerGone, StoreEvent>;

class Core {
 public:
  explicit Core(CoreConfig config);

  void on(Event event, const proto::Now& now);
  /// Leases, beats, retention. `drained`: nothing was left unread, so silence means something.
  void tick(const proto::Now& now, bool drained);
  /// When tick() should be called next at the latest (mono, us).
  int64_t next_tick_us(const proto::Now& now) const;

  /// The batch that filled, if there is anything to write and none is in flight.
  std::optional<Batch> close_batch(const proto::Now& now);
  std::vector<Action> take_actions();
  /// No batch is closed any more; the shell then closes the store and waits for StoreClosed.
  void leave();

  /// False while the batch that fills has reached its bounds: leave messages in the sockets.
  bool accepts_clients() const;
  bool accepts_executors() const;

  const State& state() const { return state_; }
  /// Every task in exactly one place, counters equal what is there: for tests and the simulation.
  /// Empty if all is well, else a sentence.
  std::string broken_invariant() const;

 private:
  void on_store(StoreEvent event, const proto::Now& now);

  State state_;
};

}  // namespace flame::broker

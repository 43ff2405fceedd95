// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A broker core with its memory store, told what to do by bytes: well-behaved peers that get a
// session going, and hostile messages in between. After every step the core's invariants must hold
// and everything it sends must decode. What an operation takes from the input stands beside its
// function.

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/core/core.hpp"
#include "broker/store/memory_store.hpp"
#include "tests/fuzz/input.hpp"

namespace flame::fuzz {

/// First byte of an operation, modulo their number. The corpus depends on the order: add at the
/// end.
enum class Op : uint8_t {
  kClientFrame,    ///< u8 flags and peer, u16 header size, u16 payload size, header, payload
  kExecutorFrame,  ///< the same
  kTime,           ///< u8 times 20 ms; 0: 4.8 s in short turns; 255: a pause of 10 s
  kClientHello,    ///< u8 peer
  kExecutorHello,  ///< u8 peer, bit 7: another nonce, bit 6: claims nothing
  kCreate,         ///< u8 peer, u8 session, u8 choices
  kSubmit,         ///< u8 peer, u8 session, u8 tasks
  kBindings,       ///< u8 peer: echoes what was asked, u8 window
  kResults,        ///< u8 peer, u8 which run, u8 tasks, bit 7 of it: with a failure
  kReturn,         ///< u8 peer, u8 which run, u8 code
  kRequest,        ///< u8 peer, u8 session, u8 which
  kRedis,          ///< u8 what happens to it
  kGone,           ///< u8 peer
  kRestart,        ///< the broker dies and another one starts
  kCancel,         ///< u8 peer, u8 session, u8 first task and bit 7: also running; u8 tasks, 0: all
  kEnd,
};

/// Bits of a frame's flags, beside the peer in the lowest bit.
inline constexpr uint8_t kRightLink = 2;
inline constexpr uint8_t kRightUid = 4;
inline constexpr uint8_t kRightTicket = 8;

class CoreWorld {
 public:
  CoreWorld();
  void run(Input input);
  const broker::Totals& totals() const { return core_->state().totals; }

 private:
  struct Held {
    proto::SessionUid uid = 0;
    proto::Ticket ticket;
    proto::Run rest;  ///< of the ticket's run, without an answer yet
  };
  struct PeerState {
    std::string name;
    broker::Port port;
    uint32_t link = 0;
    uint64_t sequence = 0;
    uint64_t nonce = 1;
    std::map<proto::SessionUid, uint64_t> submits;
    std::vector<proto::SlotBinding> wanted;
    std::deque<Held> hand;
  };

  void start_broker();
  void step(Input& input);
  void frame(Input& input, broker::Port port);
  void mend(PeerState& peer, uint8_t flags, proto::Envelope& envelope, proto::Message& message);
  void time(Input& input);
  void client_hello(Input& input);
  void executor_hello(Input& input);
  void create(Input& input);
  void submit(Input& input);
  void cancel(Input& input);
  void bindings(Input& input);
  void results(Input& input);
  void give_back(Input& input);
  void request(Input& input);
  void redis(Input& input);
  void gone(Input& input);

  PeerState& client(uint8_t choice) { return peers_[choice & 1]; }
  PeerState& executor(uint8_t choice) { return peers_[2 + (choice & 1)]; }
  proto::SessionUid uid(uint8_t choice) const;
  void hello(PeerState& peer, proto::Message message);
  void say(PeerState& peer, proto::Message message);
  void turn();
  void perform(broker::Action& action);
  void receive(const broker::Send& send);

  broker::MemoryRedis redis_{7};
  std::shared_ptr<broker::MemoryRing> ring_ = std::make_shared<broker::MemoryRing>();
  std::unique_ptr<broker::MemoryStore> store_;
  std::unique_ptr<broker::Core> core_;
  proto::Now now_{1'000'000, 1'700'000'000'000'000};
  std::array<PeerState, 4> peers_;
  uint64_t seed_ = 1;
  bool talks_ =
      std::getenv("FLAME_FUZZ_TALKS") != nullptr;  ///< prints what is said, to read a finding
  bool stopped_ = false;
};

}  // namespace flame::fuzz

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// One life of a broker process: the real core on the store's twin, driven as broker/app drives it,
// with every promise checked as it leaves. A restarted broker is another BrokerNode on the same
// MemoryRedis.

#include <deque>
#include <memory>
#include <string>

#include "broker/core/core.hpp"
#include "broker/store/memory_store.hpp"
#include "tests/sim/network.hpp"
#include "tests/sim/world.hpp"

namespace flame::sim {

/// What every process of a run is a part of.
struct Cluster {
  World& world;
  Network& network;
  broker::MemoryRedis& redis;
};

class BrokerNode : public Listener {
 public:
  /// `ring` null: a broker elsewhere, without its predecessor's ring.
  BrokerNode(Cluster cluster, std::string name, std::shared_ptr<broker::MemoryRing> ring);

  bool listening() const override { return alive_; }
  void receive(broker::PeerMessage message) override;

  void crash();
  /// SIGSTOP and SIGCONT.
  void pause(int64_t us);
  /// SIGTERM: the store is closed in order, then the process ends.
  void leave();

  bool alive() const { return alive_; }
  bool stands_still() const { return alive_ && cluster_.world.now_us() < paused_until_us_; }
  const broker::State& state() const { return core_.state(); }
  /// On the disk of its machine.
  const std::shared_ptr<broker::MemoryRing>& ring() const { return ring_; }
  /// Every executor has said of everything cancelled that it ended there.
  bool cancels_ended() const;
  /// Its sessions and executors in a few lines, for the text of a failure.
  std::string describe() const;
  /// Redis came back, or something else that only a look shows.
  void wake() { turn_at(cluster_.world.now_us()); }

 private:
  void turn_at(int64_t us);
  void turn();
  bool drain_inbox(const proto::Now& now);
  void on(broker::Event event, const proto::Now& now);
  void perform(std::vector<broker::Action> actions);
  void perform(broker::Send& send);
  void check();
  /// More slots: its max_instances, which an update changes, holds for all its sessions together.
  bool application_may(const std::string& name) const;
  void check_starvation();
  void check_promise(const broker::Send& send);
  std::pair<const broker::MemoryKeys*, const char*> safe_place(proto::Durability level) const;

  Cluster cluster_;
  std::string name_;
  std::shared_ptr<broker::MemoryRing> ring_;
  std::unique_ptr<broker::MemoryStore> store_;
  broker::Core core_;
  std::deque<broker::Event> inbox_;
  bool alive_ = true;
  bool closing_ = false;
  int64_t paused_until_us_ = 0;
  int64_t next_turn_us_ = INT64_MAX;
  uint64_t turn_number_ = 0;
  int64_t starving_us_ = 0, last_turn_us_ = 0;
  proto::SessionUid starving_ = 0;
};

}  // namespace flame::sim

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What a seed means: a cluster, its work, and what goes wrong with it. Each run leaves most kinds
// of faults out (swarm testing, Groce et al. 2012): a fault that always happens hides what only
// happens without it.

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/client_node.hpp"
#include "tests/sim/executor_node.hpp"

namespace flame::sim {

enum class Fault : uint8_t {
  kBrokerCrash,
  kBrokerLeave,
  kBrokerPause,
  kTakeover,  ///< a second broker starts while the first one lives
  kRedisDown,
  kRedisForgets,  ///< killed and started again without its last writes
  kBothForget,    ///< broker and Redis together
  kRedisRefuses,
  kRedisSlow,
  kExecutorCrash,
  kExecutorDrain,
  kExecutorPause,
  kClientCrash,
  kWireBreak,  ///< a connection ends
  kWireCut,    ///< a connection stays, and nothing comes through
  // Drawn by draw_levels().
  kReplicaStops,
};
inline constexpr std::array<std::string_view, 16> kFaultNames = {
    "broker crash", "broker leave",   "broker pause",   "takeover",
    "redis down",   "redis forgets",  "both forget",    "redis refuses",
    "redis slow",   "executor crash", "executor drain", "executor pause",
    "client crash", "wire break",     "wire cut",       "replica stops"};

struct Scenario {
  Weather weather;
  bool through_codec = false;
  int64_t faults_end_us = 0;
  int64_t redis_delay_us = 0;
  uint64_t redis_unsynced = 0;
  std::vector<std::pair<Fault, int64_t>> faults;  ///< with the mean time between two, in us
  std::vector<ExecutorPlan> executors;
  std::vector<std::vector<JobPlan>> clients;

  /// Redis has a replica, and some sessions ask for more than `stored`.
  bool levels = false;

  /// Its services do not start, until they are mended; "": there is none.
  std::string dead_application;
  size_t dead_client = 0;

  static Scenario draw(Rng& rng);
  /// With chance of its own: seeds from before there were levels mean what they meant.
  void draw_levels(Rng rng);
  /// As draw_levels: who cancels, and tasks that run long enough to be killed for it.
  void draw_cancels(Rng rng);
  /// As draw_levels: who changes common data, and who follows single tasks.
  void draw_follows(Rng rng);
  /// As draw_levels: who cordons and drains executors, and which of these are pods.
  void draw_holds(Rng rng);
  /// As draw_levels: whose tasks say how far they are, and some of them run long enough for it.
  void draw_progress(Rng rng);
  /// As draw_levels: who changes applications.
  void draw_changes(Rng rng);
  /// As draw_levels: which session has so many tasks that letters of the first ones are dropped.
  void draw_long(Rng rng);
  /// As draw_levels: which clients' sessions have a service that starts only when all others are
  /// done. There are as many as slots.
  void draw_dead(Rng rng);
  /// As draw_levels: whose services write lines and say often how far they are, and who reads them.
  void draw_talk(Rng rng);
  bool has(Fault fault) const;
  /// Nothing goes wrong.
  bool is_fair() const;
  /// The min_instances of all sessions.
  uint64_t reserved() const;
  std::string text() const;
};

}  // namespace flame::sim

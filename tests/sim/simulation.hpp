// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// One run: the cluster of a seed, faults for a while, then peace, and after some time in peace
// everything that was promised must have been kept.

#include <memory>
#include <string>
#include <vector>

#include "tests/sim/scenario.hpp"

namespace flame::sim {

struct Outcome {
  std::string failure;  ///< empty: all is well
  int64_t simulated_us = 0;
  uint64_t events = 0, attempts = 0, acknowledged = 0, results = 0, executed = 0, faults = 0;
};

class Simulation {
 public:
  Simulation(uint64_t seed, bool verbose);
  Outcome run();

 private:
  void finish(int64_t deadline_us);
  void start_broker(bool elsewhere);
  void operate();
  BrokerNode* a_broker();
  void schedule(Fault fault, int64_t mean_us);
  void strike(Fault fault);
  void strike_broker(Fault fault);
  void strike_redis(Fault fault);
  void strike_executor(Fault fault);
  void strike_wire(Fault fault);
  void make_peace();
  void mend();
  void replace_drained();
  bool quiet() const;
  bool done() const;
  std::string unfinished() const;

  World world_;
  Rng chaos_;  ///< of the faults: what they draw does not change what others draw
  Scenario scenario_;
  Network network_;
  broker::MemoryRedis redis_;
  Checker checker_;
  std::vector<std::unique_ptr<BrokerNode>>
      brokers_;  ///< dead ones too: messages to them are on their way
  std::vector<std::unique_ptr<ExecutorNode>> executors_;
  std::vector<std::unique_ptr<ClientNode>> clients_;
  bool peace_ = false;
  uint64_t faults_ = 0;
  int64_t redis_forgot_us_ = 0;
};

}  // namespace flame::sim

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The bare loop that the budgets are measured against: client, broker, executor and service as four
// processes that confirm in Redis before they acknowledge, dispatch and deliver, write exactly what
// the real store writes, and do nothing else: no scheduling, no leases, no resync, no recovery, one
// session, one executor. Against a bare loop that was written without it, and has no ring, submit
// history or housekeeping, it is as fast (bench/results/2026-11-26-b1a276c.md).

#include <cstdint>
#include <string>

namespace flame::ceiling {

struct Settings {
  std::string role;
  std::string redis;    ///< path of its unix socket
  std::string clients;  ///< endpoint: tcp://127.0.0.1:1, ipc://path
  std::string executors;
  std::string ring = "/dev/shm";  ///< folder of the mapped file
  uint64_t tasks = 1'000'000;
  uint64_t batch = 1024;  ///< tasks in a submit
  uint64_t window = 0;    ///< submitted tasks without result; 0: only the 64 submits without answer
  uint64_t credit = 8192;  ///< tasks an executor holds
  uint64_t size = 64;      ///< bytes of an input
  int64_t spin_us = 0;     ///< the broker does not sleep for so long after it sent a batch
  bool latency = false;    ///< one task at a time
};

int run_broker(const Settings& settings);
int run_executor(const Settings& settings);
int run_client(const Settings& settings);

[[noreturn]] void die(const std::string& what);

}  // namespace flame::ceiling

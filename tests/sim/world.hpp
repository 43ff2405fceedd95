// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Virtual time, chance and failure of one simulated cluster. Everything that happens is an event of
// one queue; two runs of a seed are the same to the last event.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "proto/time.hpp"

namespace flame::sim {

/// splitmix64 (Steele et al. 2014): every seed is a good one.
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed) {}
  uint64_t next();
  /// [0, bound); 0 for bound 0.
  uint64_t below(uint64_t bound) { return bound == 0 ? 0 : next() % bound; }
  /// [from, to]
  int64_t between(int64_t from, int64_t to) {
    return from + static_cast<int64_t>(below(static_cast<uint64_t>(to - from) + 1));
  }
  bool chance(double probability) {
    return static_cast<double>(next() >> 11) * 0x1p-53 < probability;
  }

 private:
  uint64_t state_;
};

class World {
 public:
  World(uint64_t seed, bool verbose) : rng_(seed), verbose_(verbose) {}

  int64_t now_us() const { return now_us_; }
  proto::Now now() const { return {now_us_, kWallAtStartUs + now_us_}; }
  Rng& rng() { return rng_; }

  /// In the order of time; at the same time in the order asked.
  void at(int64_t us, std::function<void()> what);
  void after(int64_t us, std::function<void()> what) { at(now_us_ + us, std::move(what)); }
  /// Runs what is next; false when nothing is, or a check failed.
  bool step();
  uint64_t events() const { return events_; }

  /// The first failure is kept; the run ends with it.
  void fail(const std::string& what);
  const std::string& failure() const { return failure_; }

  bool verbose() const { return verbose_; }
  /// One line of the log of --verbose; callers ask verbose() first where the text is costly.
  void say(const std::string& who, const std::string& what);

 private:
  static constexpr int64_t kWallAtStartUs = 1'700'000'000'000'000;
  struct Entry {
    int64_t at_us;
    uint64_t number;
    std::function<void()> what;
    bool operator<(const Entry& other) const {  // std's heap has its largest first
      return at_us != other.at_us ? at_us > other.at_us : number > other.number;
    }
  };

  Rng rng_;
  bool verbose_;
  int64_t now_us_ = 1'000'000;
  uint64_t next_number_ = 0;
  uint64_t events_ = 0;
  std::vector<Entry> queue_;
  std::string failure_;
};

}  // namespace flame::sim

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/sim/world.hpp"

#include <algorithm>
#include <cstdio>

namespace flame::sim {

uint64_t Rng::next() {
  uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void World::at(int64_t us, std::function<void()> what) {
  queue_.push_back({std::max(us, now_us_), next_number_++, std::move(what)});
  std::push_heap(queue_.begin(), queue_.end());
}

bool World::step() {
  if (queue_.empty() || !failure_.empty()) return false;
  std::pop_heap(queue_.begin(), queue_.end());
  Entry next = std::move(queue_.back());
  queue_.pop_back();
  now_us_ = next.at_us;
  events_++;
  next.what();
  return failure_.empty();
}

void World::fail(const std::string& what) {
  if (!failure_.empty()) return;
  failure_ = "at " + std::to_string(now_us_) + " us: " + what;
  say("FAILURE", what);
}

void World::say(const std::string& who, const std::string& what) {
  if (verbose_)
    std::printf("%12.6f %-12s %s\n", static_cast<double>(now_us_) / 1e6, who.c_str(), what.c_str());
}

}  // namespace flame::sim

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/beats.hpp"

#include <algorithm>

namespace flame::broker {

namespace {

constexpr int64_t kExecutorLeaseUs = int64_t{proto::kLeaseMs} * proto::kUsPerMs;

bool idle(const Executor& executor) {
  return std::all_of(executor.slots.begin(), executor.slots.end(),
                     [](const Slot& slot) { return slot.wanted == 0 && slot.bound == 0; });
}

uint64_t idle_beat_ms(const State& state) {
  uint64_t most = std::max<uint64_t>(1, state.config.idle_beats_max);
  return proto::kBeatMs * std::max<uint64_t>(1, (state.executor_peers.size() + most - 1) / most);
}

}  // namespace

int64_t beat_us(const Executor& executor) {
  return idle(executor) ? std::max(kBeatUs, executor.idle_beat_us) : kBeatUs;
}

int64_t lease_us(const Executor& executor) {
  return std::max(kExecutorLeaseUs, 3 * beat_us(executor));
}

void heard_from(Executor& executor, const proto::Now& now) {
  executor.lease_until_us = now.mono_us + lease_us(executor);
}

void expects_answer(Executor& executor, const proto::Now& now) {
  executor.lease_until_us = std::min(executor.lease_until_us, now.mono_us + kExecutorLeaseUs);
  executor.beat_due_us = std::min(executor.beat_due_us, now.mono_us + kBeatUs);
}

void beat(State& state, Executor& executor, const proto::Now& now) {
  if (now.mono_us < executor.beat_due_us) return;
  uint64_t idle_ms = idle_beat_ms(state);
  auto told_us = static_cast<int64_t>(idle_ms) * proto::kUsPerMs;
  bool rarer = told_us > std::exchange(executor.idle_beat_us, told_us);
  executor.beat_due_us = now.mono_us + beat_us(executor);
  // It may take us at our word at once. Only when it grows: else our own beats kept a dead one
  // alive.
  if (rarer) {
    executor.lease_until_us = std::max(executor.lease_until_us, now.mono_us + lease_us(executor));
  }
  send_now(state, executor, proto::Beat{state.health.writable ? 1u : 0u, idle_ms});
}

}  // namespace flame::broker

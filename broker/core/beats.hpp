// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// How often a broker and an executor show each other that they are there, and for how long silence
// is believed to be none. With a binding: every beat_ms, lease_ms. Without one, nothing is lost
// with the executor, and thousands of them must cost next to nothing: all of them together beat
// idle_beats_max times a second. A binding that is sent ends that at once, on both sides.

#include "broker/core/state.hpp"

namespace flame::broker {

/// How often a peer hears from us while something goes on, and we from it.
inline constexpr int64_t kBeatUs = int64_t{proto::kBeatMs} * proto::kUsPerMs;

/// Its interval now, as it was told.
int64_t beat_us(const Executor& executor);
/// How long it may be silent.
int64_t lease_us(const Executor& executor);
/// A message came.
void heard_from(Executor& executor, const proto::Now& now);
/// A binding leaves: from now on it answers within a lease.
void expects_answer(Executor& executor, const proto::Now& now);
/// Ours, if it is due.
void beat(State& state, Executor& executor, const proto::Now& now);

}  // namespace flame::broker

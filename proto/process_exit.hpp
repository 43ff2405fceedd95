// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// How one of our processes tells another that starts it why it ended.

namespace flame::proto {

/// A broker that learns that another one has its Redis. Whoever restarts brokers must leave it
/// alone: both would take the Redis from each other for ever.
inline constexpr int kExitReplaced = 75;

}  // namespace flame::proto

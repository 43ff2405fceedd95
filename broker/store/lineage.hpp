// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Who owns this Redis, and is anything confirmed missing from it? Pure: both stores look, ask here,
// and do what the answer says.
//
// An epoch is `number-random`, compared as a whole. A lineage is a random value that lives as long
// as nothing confirmed was lost: a starting broker keeps it only if it can show that.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/epoch.hpp"
#include "proto/error.hpp"

namespace flame::broker {

using proto::Epoch;

using MetaFields = std::vector<std::pair<std::string, std::string>>;

/// flame:meta, the whole of it.
struct Meta {
  bool exists = false;
  std::string schema;
  std::string cluster;
  Epoch epoch;
  std::string owner;  ///< who raised the epoch, in words
  uint64_t batch = 0;
  std::string lineage;
  std::string secret;   ///< hex, so that a terminal survives it
  std::string run_id;   ///< of the Redis that the owner last saw
  std::string fsync;    ///< appendfsync as the owner last saw it
  std::string restore;  ///< appendfsync to go back to, while the owner has changed it for a moment
  bool clean = false;   ///< the owner left in order
  std::string lost;     ///< why the lineage is broken; empty while it is not

  /// A field that does not parse is an error: this is not ours, or somebody edited it.
  static proto::Result<Meta> from(const MetaFields& fields);
  /// The secret as the 16 bytes that it says.
  std::string secret_bytes() const;
  /// All fields but `batch`, which belongs to the batches.
  MetaFields fields() const;
};

/// What the ring holds: batches [first, last]; empty when last + 1 == first. Those before first are
/// on disk.
struct RingState {
  bool found = false;  ///< false: none, or a new one
  Epoch epoch;         ///< the last that its owner tried to raise
  std::string lineage;
  uint64_t first = 1;
  uint64_t last = 0;
  bool has(uint64_t from, uint64_t to) const { return from > to || (first <= from && to <= last); }
};

struct RedisSeen {
  std::string run_id;
  int64_t uptime_us = 0;
};

enum class Finding : uint8_t {
  kFresh,   ///< nobody was here
  kWhole,   ///< nothing is missing once batches `replay_from` and later of the ring are replayed
  kBroken,  ///< confirmed writes are missing; `reason` says which
  kWait,    ///< ask again after `wait_us`: the owner comes first
  kRefuse,  ///< not our Redis: `error`
  kFenced,  ///< another broker owns it
};
struct Decision {
  Finding finding = Finding::kFresh;
  uint64_t replay_from = 0;
  std::string reason;
  int64_t wait_us = 0;
  proto::Error error;
};

/// For a broker that starts. `ring_place` is named in texts.
Decision decide_start(const Meta& meta, const RingState& ring, const RedisSeen& seen,
                      std::string_view cluster, int64_t takeover_grace_us,
                      std::string_view ring_place);

/// What a broker that was connected before believes.
struct Owned {
  Epoch epoch;
  std::string lineage;
  uint64_t confirmed = 0;  ///< the last batch whose reply came
  uint64_t in_flight = 0;  ///< sent without a reply; 0: none
  std::string lost;        ///< why the lineage is broken already; Redis may have forgotten that too
};
/// For the same broker after a reconnect.
Decision decide_again(const Meta& meta, const RingState& ring, const Owned& owned);

}  // namespace flame::broker

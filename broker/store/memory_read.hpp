// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Reading from the maps what RedisStore reads from Redis.

#include "broker/store/memory_redis.hpp"
#include "broker/store/store.hpp"

namespace flame::broker {

/// Everything but `lineage_broken` and `reason`.
Recovered recover(const MemoryKeys& keys);

StoreEvent answer_read(const MemoryKeys& keys, const ReadOutputs& read);
StoreEvent answer_read(const MemoryKeys& keys, const ReadInputs& read);
StoreEvent answer_read(const MemoryKeys& keys, const ReadCommon& read);
StoreEvent answer_read(const MemoryKeys& keys, const ReadEvents& read);
StoreEvent answer_read(const MemoryKeys& keys, const ReadStates& read);
StoreEvent answer_read(const MemoryKeys& keys, const FindOutputs& read);
StoreEvent answer_read(const MemoryKeys& keys, const ReadScale& read);

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// How the autoscaler reads Redis: one transaction, so that demand and executors fit together.

#include "autoscaler/core/observer.hpp"
#include "runtime/redis_connection.hpp"

namespace flame::autoscaler {

/// `applications`: also flame:apps.
runtime::RedisRequest read_request(bool applications);
/// An error if anything of it cannot be read: a part would look like less.
proto::Result<Stored> stored_from(const runtime::RedisReplies& replies);

}  // namespace flame::autoscaler

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// How the autoscaler reads Redis: one transaction, so that demand and executors fit together.

#include "autoscaler/core/observer.hpp"
#include "runtime/redis_connection.hpp"

namespace flame::autoscaler {

/// `applications`: also flame:apps. `recall`: first flame:scale, as an earlier autoscaler left it.
runtime::RedisRequest read_request(bool applications, bool recall);
/// How long starts took, of the reply to flame:scale. Good to know, no more: a row that is not
/// readable is left out.
std::map<std::string, int64_t> cold_starts_from(const runtime::RedisReply& reply);
/// An error if anything of it cannot be read: a part would look like less. kCluster if a broker of
/// another cluster than `cluster` writes it; "" for any.
proto::Result<Stored> stored_from(const runtime::RedisReplies& replies, std::string_view cluster);

}  // namespace flame::autoscaler

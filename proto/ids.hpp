// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Names of things. Numbers that mean different things have different types where they meet in one
// call.

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "proto/error.hpp"

namespace flame::proto {

/// 1, 2, 3 ... within its session.
using TaskId = uint64_t;

/// A session's identity in time: epoch number of the broker that created it << 32 | how many
/// sessions that epoch had created. Never reused, so a message about a deleted session of the same
/// name is recognised. 0 means none.
using SessionUid = uint64_t;

/// 1 for the first try of a task; only losses seen by a living broker are charged.
using Attempt = uint32_t;

/// Names that users choose (sessions, applications, executors): 1-128 characters of [A-Za-z0-9._-],
/// not starting with '.' or '-'. They stand in Redis keys, paths and Kubernetes labels, hence the
/// alphabet.
Result<std::string> check_name(std::string_view what, std::string_view name);

}  // namespace flame::proto

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Which tasks of an entry did not succeed.

#include <algorithm>

#include "proto/messages.hpp"

namespace flame::client {

/// A cancelled run is one entry whatever its count: one exception stands for all of it, and there
/// are no elements (a task that only failed has an empty one).
inline bool is_cancelled_run(const proto::Results& results) {
  return results.payload.empty() && results.exceptions.size() == 1 &&
         results.exceptions.front().code == proto::Code::kTaskCancelled;
}

/// How task `id` of `results` failed; null if it succeeded.
inline const proto::Exception* failure_of(const proto::Results& results, proto::TaskId id) {
  if (is_cancelled_run(results)) return &results.exceptions.front();
  auto found = std::find_if(results.exceptions.begin(), results.exceptions.end(),
                            [id](const auto& failure) { return failure.id == id; });
  return found == results.exceptions.end() ? nullptr : &*found;
}

}  // namespace flame::client

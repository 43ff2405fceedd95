// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A frame of tasks as one JSON document, and its answer. Pure.
//
//   {"session": "pi-1", "tasks": [{"id": 7, "attempt": 1, "input": 3.5}, ...]}
//   {"results": [{"output": 12}, {"error": "too small"}, ...]}       in the order of the tasks

#include <string>
#include <string_view>
#include <vector>

#include "proto/error.hpp"
#include "shims/call_queue.hpp"

namespace flame::shims {

/// An input that is not JSON (or empty: null) is an error that names the task.
proto::Result<std::string> batch_request(std::string_view session, const CallQueue::Call& call);

struct BatchResult {
  bool ok = true;
  std::string text;  ///< the output as JSON, or the error
};
/// An error says what the service got wrong.
proto::Result<std::vector<BatchResult>> read_batch_answer(std::string_view body, uint32_t count);

}  // namespace flame::shims

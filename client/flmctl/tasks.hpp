// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Tasks and results as flmctl shows them.

#include "client/failures.hpp"
#include "client/flmctl/command.hpp"

namespace flame::flmctl {

/// id, state, attempt, executor, output or code and reason.
proto::Map row_of(const proto::SessionInfo& info);
proto::Map row_of(const TaskResult& result);
/// Flat keys, only those that are known.
proto::Map row_of(const TaskStatus& task);
/// One line: id, state, and the output or the reason, tab separated; or a JSON object.
std::string show_result(const TaskResult& result, Format format);

proto::Exception failure_of(const TaskResult& result);
/// Prints the first three distinct failures to stderr.
void show_failures(const tools::Failures& failures);

/// The task that was named; the error says how, as `flmctl <verb> SESSION/7`.
proto::Result<uint64_t> task_number(const Target& target, const std::string& verb);

int list_tasks(Command& command, const Target& target);
int view_task(Command& command, const Target& target);

}  // namespace flame::flmctl

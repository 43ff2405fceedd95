// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What a client asks about single tasks. Their truth stands in Redis; from memory comes only who
// has those that run. Not on the task path: each question is a few reads, one after the other.

#include "broker/core/state.hpp"

namespace flame::broker {

void on_get_tasks(State& state, Client& client, const proto::GetTasks& message);
/// Begins with the letters from `next` on. The answer leaves as `tasks`, for a watched task only if
/// it is not what its client knows.
void ask_tasks(State& state, Session& session, TaskQuestion question);
/// What is answered about a task before Session::first_recorded().
proto::Error no_letters(const Session& session, proto::TaskId task);
void on_states_read(State& state, const StatesRead& read);
void on_outputs_found(State& state, OutputsFound read);
/// True if the read belongs to a question (and was taken), not to a dispatch.
bool on_question_inputs(State& state, InputsRead& read);

}  // namespace flame::broker

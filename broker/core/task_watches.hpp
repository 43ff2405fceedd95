// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Clients that follow single tasks: each asks again and again what the task is, and names what it
// knows; it is answered once that is not so any more. What the answer says comes from the store, as
// for every question about tasks, so a watch is looked at when a batch with its letters is stored.

#include "broker/core/state.hpp"

namespace flame::broker {

void on_watch_task(State& state, Client& client, const proto::WatchTask& message);
/// These tasks have other letters in the batch that is being closed.
void note_letters(State& state, Session& session, const proto::Run& run, proto::TaskState letter);
/// The batch in flight is stored.
void ask_watched(State& state);
/// A running task said something.
void on_progress_of(State& state, Session& session, proto::TaskId task);
/// The answer to a watch's question is there. True if its client gets it; then the watch is over.
bool end_watch(State& state, Session& session, const TaskQuestion& question, bool news);
void forget_task_watches(State& state, Session& session, const Peer& peer);
/// The session goes: all of them, answered as `gone`.
void end_task_watches(State& state, Session& session);

}  // namespace flame::broker

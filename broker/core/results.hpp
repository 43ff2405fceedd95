// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// From an executor's answer to the one recorded result, and from there to whoever watches the
// session.

#include "broker/core/state.hpp"

namespace flame::broker {

/// Ids that are no longer waiting, orphaned or in hand, and how they ended.
struct Outcome {
  proto::Run run;
  proto::OutputHead head;
  proto::Bytes elements;         ///< run.count of them; none for a cancelled run
  std::vector<uint64_t> stamps;  ///< see proto::Results
  bool cancelled = false;
};

/// Records: letters, counters, output, done entry, inputs that are finished. Sends it to the
/// watchers that are up to date. The caller has taken the ids out of the running (or pending)
/// counter.
void record(State& state, Session& session, Outcome outcome, const proto::Now& now);

/// An executor's results: the parts that have no result yet are recorded, the rest is answered as
/// duplicate.
void on_task_results(State& state, Executor& executor, proto::TaskResults message,
                     const proto::Now& now);

// ---- delivery
// -------------------------------------------------------------------------------------------

void on_watch(State& state, Client& client, const proto::Watch& message, const proto::Now& now);
void on_results_ack(State& state, Client& client, const proto::ResultsAck& message,
                    const proto::Now& now);
void on_outputs_read(State& state, OutputsRead read);
/// Sends what a watcher lacks: asks the store where memory no longer has it.
void pump(State& state, Session& session, const Peer& peer, Watcher& watcher);
/// Part of housekeeping. Retention `read`: drops outputs that every reader has consumed.
void trim_read(State& state, Session& session, const proto::Now& now);

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// From an executor's answer to the one recorded result.

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

/// Records: letters, counters, output, done entry, inputs that are finished. Watchers get it when
/// the session's durability allows. The caller has taken the ids out of the running (or pending)
/// counter.
void record(State& state, Session& session, Outcome outcome, const proto::Now& now);

/// An executor's results: the parts that have no result yet are recorded, the rest is answered as
/// duplicate.
void on_task_results(State& state, Executor& executor, proto::TaskResults message,
                     const proto::Now& now);

}  // namespace flame::broker

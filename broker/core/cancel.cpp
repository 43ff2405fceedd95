// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/cancel.hpp"

#include <algorithm>

#include "broker/core/dispatch.hpp"
#include "broker/core/hands.hpp"
#include "broker/core/results.hpp"

namespace flame::broker {

using proto::Code;
using proto::Error;
using proto::Run;

namespace {

// In order, without overlaps: every task is cancelled once, whatever was asked.
std::vector<Run> wanted_runs(const Session& session, const proto::CancelTasks& message) {
  if (message.runs.empty()) return {{1, session.counters.tasks}};
  std::vector<Run> runs = message.runs;
  std::sort(runs.begin(), runs.end());
  std::vector<Run> merged;
  for (const auto& run : runs) {
    if (merged.empty() || merged.back().end() < run.first) {
      merged.push_back(run);
    } else {
      merged.back().count = std::max(merged.back().end(), run.end()) - merged.back().first;
    }
  }
  return merged;
}

proto::Status check_runs(const Session& session, const proto::CancelTasks& message) {
  if (message.runs.size() > proto::kCancelRunsMax) {
    return Error{
        Code::kBadRequest,
        "a cancel names at most " + std::to_string(proto::kCancelRunsMax) + " runs; send several"};
  }
  for (const auto& run : message.runs) {
    bool known = run.first > 0 && run.count > 0 && run.count <= session.counters.tasks &&
                 run.first <= session.counters.tasks - run.count + 1;
    if (known) continue;
    return Error{Code::kNotFound, "session '" + session.name + "' has no tasks " + to_string(run) +
                                      "; its last one is " +
                                      std::to_string(session.counters.tasks)};
  }
  return {};
}

uint64_t cancel_pending(State& state, Session& session, const std::vector<Run>& runs,
                        const std::string& reason, const proto::Now& now) {
  uint64_t count = 0;
  for (const auto& waiting : session.tasks.take(runs)) {
    session.counters.pending -= waiting.run.count;
    count += waiting.run.count;
    record_cancelled(state, session, waiting.run, reason, now);
  }
  return count;
}

uint64_t cancel_running(State& state, Session& session, const std::vector<Run>& runs,
                        const std::string& reason, const proto::Now& now) {
  uint64_t count = 0;
  for (const auto& run : take_running(state, session, runs, nullptr)) {
    count += run.count;
    record_cancelled(state, session, run, reason, now);
  }
  return count;
}

}  // namespace

void record_cancelled(State& state, Session& session, const Run& run, const std::string& reason,
                      const proto::Now& now) {
  // A done entry lies in one segment, as its output's key does.
  for (proto::TaskId id = run.first; id < run.end();) {
    proto::TaskId end = std::min(run.end(), proto::segment_end(id));
    Outcome outcome;
    outcome.run = {id, end - id};
    outcome.cancelled = true;
    outcome.head.base_ms = static_cast<uint64_t>(now.wall_ms());
    outcome.head.exceptions = {{id, Code::kTaskCancelled, reason}};
    record(state, session, std::move(outcome), now);
    id = end;
  }
}

void on_cancel_tasks(State& state, Client& client, Session& session,
                     const proto::CancelTasks& message, const proto::Now& now) {
  if (auto status = check_runs(session, message); !status) {
    return refuse(state, client, message.request, status.error());
  }
  seal_fresh(state, session, now);
  proto::Cancelled answer{message.request, session.uid, 0, 0};
  std::vector<Run> runs = wanted_runs(session, message);
  const std::string reason = "cancelled by " + client.user;
  answer.pending = cancel_pending(state, session, runs, reason, now);
  if (message.running) answer.running = cancel_running(state, session, runs, reason, now);
  if (answer.pending + answer.running > 0) {
    add_event(state, session, now, "cancelled",
              std::to_string(answer.pending) + " pending, " + std::to_string(answer.running) +
                  " running by " + client.user);
    touch(state, session);
    make_room(state);
    state.plan_due = true;
  }
  send_acknowledgement(state, session.spec.durability, client.peer, answer);
}

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/results.hpp"

#include <algorithm>

#include "broker/core/delivery.hpp"
#include "broker/core/hands.hpp"
#include "broker/core/lifecycle.hpp"
#include "broker/core/ticket.hpp"
#include "proto/elements.hpp"

namespace flame::broker {

using proto::Code;
using proto::Run;
using proto::TaskState;

namespace {

void set_outcome_letters(Session& session, const Outcome& outcome) {
  set_letters(session, outcome.run,
              outcome.cancelled ? TaskState::kCancelled : TaskState::kSucceed);
  if (outcome.cancelled) return;
  for (const auto& exception : outcome.head.exceptions) {
    set_letters(session, {exception.id, 1}, TaskState::kFailed);
  }
}

void count(State& state, Session& session, const Outcome& outcome) {
  uint64_t failed = outcome.cancelled ? 0 : outcome.head.exceptions.size();
  if (outcome.cancelled) {
    session.counters.cancelled += outcome.run.count;
    state.totals.cancelled += outcome.run.count;
    return;
  }
  session.counters.failed += failed;
  session.counters.succeed += outcome.run.count - failed;
  state.totals.failed += failed;
  state.totals.succeed += outcome.run.count - failed;
}

// A run with a failed task keeps its input: the whole input run, so mark every id of the outcome.
void finish_inputs(State& state, Session& session, const Outcome& outcome) {
  std::vector<Run> finished;
  bool failed = !outcome.cancelled && !outcome.head.exceptions.empty();
  session.tasks.finish(outcome.run, failed, finished);
  for (size_t i = 0; i < finished.size();) {
    DropInput drop{session.name, {}};
    uint64_t segment = proto::segment_of(finished[i].first);
    for (; i < finished.size() && proto::segment_of(finished[i].first) == segment; i++) {
      drop.runs.push_back(finished[i]);
    }
    state.ops.push_back(std::move(drop));
  }
}

void forget_charges(State& state, Session& session, const Run& run) {
  auto from = session.charged.lower_bound(run.first), to = session.charged.lower_bound(run.end());
  if (from == to) return;
  PutAttempts attempts{session.name, {}};
  for (auto at = from; at != to; ++at) attempts.charged.emplace_back(at->first, 0);
  session.charged.erase(from, to);
  state.ops.push_back(std::move(attempts));
}

proto::Results message_of(const Session& session, uint64_t index, Outcome outcome) {
  return {session.uid,
          index,
          outcome.run,
          std::move(outcome.head.executor),
          outcome.head.attempt,
          outcome.head.base_ms,
          std::move(outcome.head.times),
          std::move(outcome.head.exceptions),
          std::move(outcome.stamps),
          std::move(outcome.elements)};
}

}  // namespace

void record(State& state, Session& session, Outcome outcome, const proto::Now&) {
  set_outcome_letters(session, outcome);
  count(state, session, outcome);
  finish_inputs(state, session, outcome);
  forget_charges(state, session, outcome.run);
  uint64_t elements = outcome.cancelled ? 0 : outcome.run.count;
  state.ops.push_back(PutOutput{session.name, outcome.run,
                                proto::encode_output_head(outcome.head, elements),
                                outcome.elements});
  state.results_filling.tasks += elements;
  state.results_filling.bytes += outcome.elements.size();
  uint64_t index = session.done_end++;
  if (session.spec.retention == "read") session.done_runs.push_back(outcome.run);
  touch(state, session);
  remember_result(state, session, message_of(session, index, std::move(outcome)));
  on_tasks_finished(state, session);
}

namespace {

std::vector<uint64_t> stamps_of(const State& state, Session& session, const proto::TaskResults& m) {
  const InputRun* input = session.tasks.input_of(m.run.first);
  if (input == nullptr || input->sent_us == 0) return {};
  BatchTimes stored;
  if (auto found = state.batch_times.find(input->batch); found != state.batch_times.end()) {
    stored = found->second;
  }
  uint64_t start = 0, end = 0;
  if (!m.times.empty()) {
    start = m.base_ms * 1000 + m.times.front().start_us;
    end = m.base_ms * 1000 + m.times.back().end_us;
  }
  return {static_cast<uint64_t>(input->sent_us),
          static_cast<uint64_t>(input->received_us),
          static_cast<uint64_t>(stored.written_us),
          static_cast<uint64_t>(stored.stored_us),
          start,
          end,
          0,
          0};
}

/// Longer than any task: a made-up time must not overflow what it is added to.
constexpr uint64_t kFrameUsMax = 30ull * 24 * 3600 * proto::kUsPerSecond;

int64_t service_time(const proto::TaskResults& message) {
  uint64_t sum = 0;
  for (const auto& time : message.times) {
    if (time.end_us < time.start_us) continue;
    sum += std::min(time.end_us - time.start_us, kFrameUsMax - std::min(sum, kFrameUsMax));
  }
  return static_cast<int64_t>(sum);
}

Outcome outcome_of(State& state, Session& session, const Executor& executor,
                   proto::TaskResults message) {
  Outcome outcome;
  outcome.stamps = stamps_of(state, session, message);
  outcome.run = message.run;
  outcome.head = {executor.id, message.ticket.attempt, message.base_ms,
                  std::move(message.exceptions), std::move(message.times)};
  outcome.elements = std::move(message.payload);
  return outcome;
}

// The part of an answer that lies in `run`: its elements and its exceptions. Frame times are the
// whole answer's.
proto::TaskResults part_of(const proto::TaskResults& message, const Run& run) {
  proto::TaskResults part = message;
  part.run = run;
  std::string_view all = message.payload.view();
  size_t from = *proto::skip_elements(all, run.first - message.run.first);
  size_t size = *proto::skip_elements(all.substr(from), run.count);
  part.payload = message.payload.slice(from, size);
  std::erase_if(part.exceptions, [&run](const auto& e) { return !run.contains(e.id); });
  return part;
}

Code validate(const proto::TaskResults& message) {
  const Run& run = message.run;
  if (run.empty() || run.first == 0 || run.count > proto::kRunTasksMax) return Code::kBadRequest;
  if (!message.ticket.run.contains(run)) return Code::kBadRequest;
  if (proto::segment_of(run.first) != proto::segment_of(run.last())) return Code::kBadRequest;
  if (!proto::is_elements(message.payload.view(), run.count)) return Code::kBadFrame;
  proto::TaskId last = 0;  // in order and once each: they are counted
  for (const auto& exception : message.exceptions) {
    if (!run.contains(exception.id) || exception.id <= last) return Code::kBadRequest;
    last = exception.id;
  }
  return Code::kOk;
}

// The plain path: the whole run is in this executor's hand, on this attempt.
bool take_plain(Session& session, Share& share, const proto::TaskResults& message) {
  auto at = share.hands.upper_bound(message.run.first);
  if (at == share.hands.begin()) return false;
  --at;
  const Hand& hand = at->second;
  if (!hand.run.contains(message.run) || hand.attempt != message.ticket.attempt) return false;
  take_hands(share, message.run);
  session.counters.running -= message.run.count;
  return true;
}

// The parts of `run` that have no result yet, taken from wherever they are.
std::vector<Run> take_unfinished(State& state, Session& session, const Executor& from,
                                 const Run& run) {
  std::vector<Run> parts;
  for (const auto& waiting : session.tasks.take(run)) {
    session.counters.pending -= waiting.run.count;
    parts.push_back(waiting.run);
  }
  auto running = take_running(state, session, {run}, &from);
  parts.insert(parts.end(), running.begin(), running.end());
  std::sort(parts.begin(), parts.end());
  return parts;
}

// A late answer, one of another attempt, or one given to an earlier broker: the ticket proves that
// it was asked for.
Code record_late(State& state, Session& session, Executor& executor,
                 const proto::TaskResults& message, const proto::Now& now) {
  if (!ticket_is_ours(message.ticket, state.secret, session.uid, executor.id))
    return Code::kRefused;
  auto parts = take_unfinished(state, session, executor, message.run);
  uint64_t recorded = 0;
  for (const auto& part : parts) {
    recorded += part.count;
    record(state, session, outcome_of(state, session, executor, part_of(message, part)), now);
  }
  state.totals.duplicates += message.run.count - recorded;
  return recorded == 0 ? Code::kDuplicate : Code::kOk;
}

}  // namespace

void on_task_results(State& state, Executor& executor, proto::TaskResults message,
                     const proto::Now& now) {
  Session* session = state.session(message.uid);
  Code code = session == nullptr ? Code::kGone : validate(message);
  Run run = message.run;
  proto::SessionUid uid = message.uid;
  if (code == Code::kOk) {
    int64_t took_us = service_time(message);
    executor.worked_ms = now.wall_ms();
    Share& share = executor.shares[uid];
    share.window_tasks = std::min(message.window_tasks, proto::kWindowTasksMax);
    share.window_bytes = std::min(message.window_bytes, proto::kWindowBytesMax);
    if (take_plain(*session, share, message)) {
      record(state, *session, outcome_of(state, *session, executor, std::move(message)), now);
    } else {
      code = record_late(state, *session, executor, message, now);
    }
    // Only what was recorded counts, and no executor can have worked for longer than there was
    // time.
    if (code == Code::kOk) {
      session->served_us += took_us;
      state.run_times[session->spec.application].add(took_us / static_cast<int64_t>(run.count),
                                                     run.count);
    }
    touch(state, *session);
  }
  if (code != Code::kOk) state.totals.rejected[std::string(proto::name_of(code))]++;
  drop_empty_share(executor, uid);
  state.recorded[executor.id].push_back({uid, run, code});
}

}  // namespace flame::broker

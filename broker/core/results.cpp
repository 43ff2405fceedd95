// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/results.hpp"

#include <algorithm>

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

uint64_t cost(const proto::Results& results) { return results.payload.size() + 128; }

bool has_room(const Watcher& watcher, uint64_t bytes) {
  return watcher.unacked_bytes == 0 || watcher.unacked_bytes + bytes <= watcher.window_bytes;
}

void book(Watcher& watcher, const proto::Results& results) {
  watcher.next = results.index + 1;
  watcher.unacked_bytes += cost(results);
  watcher.unacked.emplace_back(results.index, cost(results));
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
  proto::Results message = message_of(session, index, std::move(outcome));
  for (auto& [peer, watcher] : session.watchers) {
    if (watcher.next != index || watcher.reading != 0 || !has_room(watcher, cost(message)))
      continue;
    book(watcher, message);
    send_durable(state, session, Port::kClients, peer, message);
  }
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

int64_t service_time(const proto::TaskResults& message) {
  int64_t sum = 0;
  for (const auto& time : message.times) {
    if (time.end_us >= time.start_us) sum += static_cast<int64_t>(time.end_us - time.start_us);
  }
  return sum;
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
  for (const auto& orphan : session.tasks.claim_orphans(run)) {
    session.counters.running -= orphan.count;
    parts.push_back(orphan);
  }
  for (auto& [id, executor] : state.executors) {
    auto share = executor.shares.find(session.uid);
    if (share == executor.shares.end()) continue;
    proto::CancelRuns cancel{session.uid, {}};
    for (const auto& hand : take_hands(share->second, run)) {
      session.counters.running -= hand.run.count;
      parts.push_back(hand.run);
      cancel.runs.push_back(hand.run);
    }
    // Behind its dispatch, which may wait for a batch still.
    if (&executor != &from && !cancel.runs.empty()) {
      send_after(state, Port::kExecutors, executor.peer, std::move(cancel));
    }
  }
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
    session->served_us += service_time(message);
    Share& share = executor.shares[uid];
    share.window_tasks = std::min(message.window_tasks, proto::kWindowTasksMax);
    share.window_bytes = std::min(message.window_bytes, proto::kWindowBytesMax);
    if (take_plain(*session, share, message)) {
      record(state, *session, outcome_of(state, *session, executor, std::move(message)), now);
    } else {
      code = record_late(state, *session, executor, message, now);
    }
    touch(state, *session);
  }
  if (code != Code::kOk) state.totals.rejected[std::string(proto::name_of(code))]++;
  drop_empty_share(executor, uid);
  state.recorded[executor.id].push_back({uid, run, code});
}

// ---- delivery
// -------------------------------------------------------------------------------------------

void on_watch(State& state, Client& client, const proto::Watch& message, const proto::Now& now) {
  Session* session = state.session(message.uid);
  if (session == nullptr) {
    return refuse(state, client, message.request,
                  {Code::kGone, "the session does not exist any more"});
  }
  if (!message.lineage.empty() && message.lineage != state.lineage) {
    return refuse(
        state, client, message.request,
        {Code::kLostLineage, "the cursor is from before Redis lost writes; start again at 0"});
  }
  if (message.index > session->done_end) {
    return refuse(
        state, client, message.request,
        {Code::kBadRequest, "the cursor " + std::to_string(message.index) + " is ahead of the " +
                                std::to_string(session->done_end) + " results there are"});
  }
  if (session->results_dropped) {
    return refuse(
        state, client, message.request,
        {Code::kTrimmed, "the results were dropped " +
                             std::string("at the end of their time; see results_ttl_ms")});
  }
  Watcher watcher;
  watcher.reader = message.reader.substr(0, proto::kNameBytesMax);
  watcher.next = watcher.acked = std::max(message.index, session->done_first);
  watcher.window_bytes = std::clamp<uint64_t>(message.window_bytes, 1, proto::kDeliverBytesMax);
  if (!watcher.reader.empty()) session->readers[watcher.reader] = {watcher.next, now.wall_ms()};
  send_now(state, client,
           proto::Watching{message.request, session->uid, watcher.next, session->done_end});
  auto& stored = session->watchers[client.peer] = std::move(watcher);
  pump(state, *session, client.peer, stored);
}

void on_results_ack(State& state, Client& client, const proto::ResultsAck& message,
                    const proto::Now& now) {
  Session* session = state.session(message.uid);
  if (session == nullptr) return;
  auto found = session->watchers.find(client.peer);
  if (found == session->watchers.end()) return;
  Watcher& watcher = found->second;
  uint64_t index = std::min(message.index, watcher.next);
  watcher.acked = std::max(watcher.acked, index);
  while (!watcher.unacked.empty() && watcher.unacked.front().first < watcher.acked) {
    watcher.unacked_bytes -= watcher.unacked.front().second;
    watcher.unacked.pop_front();
  }
  if (!watcher.reader.empty()) {
    session->readers[watcher.reader] = {watcher.acked, now.wall_ms()};
    session->dirty_readers.insert(watcher.reader);
  }
  state.housekeeping.insert(session->uid);
  pump(state, *session, client.peer, watcher);
}

void pump(State& state, Session& session, const Peer& peer, Watcher& watcher) {
  constexpr uint64_t kEntriesAtOnce = 64;
  if (watcher.reading != 0 || watcher.next >= session.done_confirmed) return;
  if (watcher.unacked_bytes >= watcher.window_bytes) return;
  if (state.confirmed_batch() < session.trimmed_in) return;  // on_batch_stored asks again
  watcher.reading = state.next_tag++;
  uint64_t count = std::min(kEntriesAtOnce, session.done_confirmed - watcher.next);
  session.reads_in_flight++;
  state.reads[watcher.reading] = {session.uid, peer, 0};
  state.actions.push_back(StoreRead{ReadOutputs{
      watcher.reading, session.name, watcher.next - session.done_first, count, watcher.next}});
}

namespace {

// An output that does not decode fails its own run by name and harms nothing else.
proto::Results from_store(const Session& session, uint64_t index, const Run& run,
                          const proto::Bytes& value) {
  proto::Results results;
  results.uid = session.uid;
  results.index = index;
  results.run = run;
  auto stored = proto::decode_output(value.view(), run.count);
  if (!stored) stored = proto::decode_output(value.view(), 0);  // a cancelled run has no elements
  if (!stored) {
    for (proto::TaskId id = run.first; id < run.end(); id++) {
      results.exceptions.push_back(
          {id, Code::kLostByStore,
           "the stored output is " + std::string(value.empty() ? "gone" : "damaged")});
    }
    std::string elements;
    for (uint64_t i = 0; i < run.count; i++) proto::append_element(elements, "");
    results.payload = proto::Bytes::own(std::move(elements));
    return results;
  }
  results.executor = std::move(stored->head.executor);
  results.attempt = stored->head.attempt;
  results.base_ms = stored->head.base_ms;
  results.times = std::move(stored->head.times);
  results.exceptions = std::move(stored->head.exceptions);
  results.payload = value.slice(static_cast<size_t>(stored->elements.data() - value.data()),
                                stored->elements.size());
  return results;
}

void learn_runs(Session& session, const OutputsRead& read) {
  if (session.spec.retention != "read") return;
  for (size_t i = 0; i < read.runs.size(); i++) {
    uint64_t at = read.first + i - session.done_first;
    if (at < session.done_runs.size()) session.done_runs[at] = read.runs[i];
  }
}

}  // namespace

void on_outputs_read(State& state, OutputsRead read) {
  auto asked = state.reads.extract(read.tag);
  if (asked.empty()) return;
  Session* session = state.session(asked.mapped().uid);
  if (session == nullptr) return;
  session->reads_in_flight--;
  learn_runs(*session, read);
  auto found = session->watchers.find(asked.mapped().peer);
  auto client = state.clients.find(asked.mapped().peer);
  if (found == session->watchers.end() || found->second.reading != read.tag) return;
  Watcher& watcher = found->second;
  watcher.reading = 0;
  if (client == state.clients.end()) return;
  for (size_t i = 0; i < read.runs.size() && watcher.next == read.first + i; i++) {
    auto message = from_store(*session, read.first + i, read.runs[i], read.values[i]);
    if (!has_room(watcher, cost(message))) break;
    book(watcher, message);
    send_now(state, client->second, std::move(message));
  }
  state.housekeeping.insert(session->uid);
  // An error is tried again with the next acknowledgement or tick.
  if (read.error.code == Code::kOk && !read.runs.empty()) {
    pump(state, *session, client->first, watcher);
  }
}

void trim_read(State& state, Session& session, const proto::Now& now) {
  if (session.spec.retention != "read" || session.reads_in_flight > 0) return;
  if (session.readers.empty() && session.watchers.empty()) return;
  uint64_t until = session.done_confirmed;
  for (const auto& [peer, watcher] : session.watchers) until = std::min(until, watcher.acked);
  for (const auto& [name, reader] : session.readers) {
    bool silent = now.wall_ms() - reader.second > static_cast<int64_t>(proto::kReaderTtlMs);
    if (!silent) until = std::min(until, reader.first);
  }
  TrimDone trim{session.name, 0};
  DropOutput drop{session.name, {}};
  while (session.done_first < until && !session.done_runs.empty() &&
         !session.done_runs.front().empty()) {
    const Run& run = session.done_runs.front();
    if (!drop.runs.empty() &&
        proto::segment_of(drop.runs.back().first) != proto::segment_of(run.first)) {
      state.ops.push_back(std::exchange(drop, DropOutput{session.name, {}}));
    }
    drop.runs.push_back(run);
    session.done_runs.pop_front();
    session.done_first++;
    trim.count++;
  }
  if (trim.count == 0) return;
  session.trimmed_in = state.last_batch + 1;
  state.ops.push_back(std::move(drop));
  state.ops.push_back(std::move(trim));
  touch(state, session);
}

}  // namespace flame::broker

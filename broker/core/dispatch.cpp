// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/dispatch.hpp"

#include <algorithm>

#include "broker/core/delivery.hpp"
#include "broker/core/durability.hpp"
#include "broker/core/hands.hpp"
#include "broker/core/lifecycle.hpp"
#include "broker/core/results.hpp"
#include "broker/core/retention.hpp"
#include "broker/core/task_watches.hpp"
#include "broker/core/ticket.hpp"
#include "proto/elements.hpp"
#include "proto/run_list.hpp"
#include "runtime/assert.hpp"

namespace flame::broker {

using proto::Run;
using proto::TaskState;

namespace {

proto::Bytes join(std::vector<proto::Bytes>& pieces) {
  if (pieces.size() == 1) return std::move(pieces.front());
  std::string all;
  for (const auto& piece : pieces) all += piece.view();
  return proto::Bytes::own(std::move(all));
}

// A person does not notice; a hundred runs share the commands.
constexpr int64_t kHousekeepingUs = 50 * proto::kUsPerMs;
constexpr int64_t kRecordedWaitUs = 10 * proto::kUsPerMs;
constexpr size_t kRecordedRunsMax = 32;
// Runs read back at once, and how far before the end of what is in memory the next read starts.
constexpr size_t kReadRuns = 64;

void read_ahead(State& state, Session& session, proto::TaskId from) {
  auto& inputs = session.tasks.inputs();
  auto at =
      std::upper_bound(inputs.begin(), inputs.end(), from,
                       [](proto::TaskId id, const InputRun& input) { return id < input.first; });
  if (at != inputs.begin()) --at;
  ReadInputs read{0, session.name, {}};
  uint64_t seen = 0, held = 0;
  for (; at != inputs.end() && seen < kReadRuns; ++at) {
    if (at->unfinished == 0) continue;
    seen++;
    if (at->reading) return;  // one read on its way is enough
    if (!at->in_memory && at->batch > state.confirmed_batch()) {
      state.reads_due.insert(session.uid);  // a read sees only what is confirmed
      break;
    }
    if (at->in_memory) {
      held++;
    } else {
      read.runs.push_back(at->run());
    }
  }
  if (read.runs.empty()) return;
  bool needed_now = read.runs.front().contains(from);
  if (held > kReadRuns / 2 && !needed_now) return;
  for (const auto& run : read.runs) session.tasks.input_of(run.first)->reading = true;
  read.tag = state.next_tag++;
  state.reads[read.tag] = {session.uid, {}, 0};
  state.actions.push_back(StoreRead{std::move(read)});
}

struct Candidate {
  Executor* executor;
  Share* share;
  uint64_t quota;
};

// How much of the front run this share may have now; 0 if it should wait for more room.
uint64_t room(const Candidate& candidate, const InputRun& input, uint64_t available) {
  const Share& share = *candidate.share;
  uint64_t taken = share.tasks + proto::count_of(share.cancelled);
  if (taken >= share.window_tasks) return 0;
  if (share.tasks > 0 && share.bytes >= share.window_bytes) return 0;
  uint64_t credit = share.window_tasks - taken;
  uint64_t each = std::max<uint64_t>(1, input.body.size() / input.count);
  uint64_t by_bytes = share.bytes >= share.window_bytes
                          ? 1
                          : std::max<uint64_t>(1, (share.window_bytes - share.bytes) / each);
  uint64_t count = std::min({available, credit, by_bytes, candidate.quota, proto::kRunTasksMax});
  // Crumbs cost as much as a whole run: a share that is well filled waits until it can take more.
  bool crumb = count < available && count < share.window_tasks / 4;
  return crumb && share.tasks > share.window_tasks / 2 ? 0 : count;
}

void hand_over(State& state, Session& session, const Candidate& to, InputRun& input,
               const Run& slice, proto::Attempt attempt, const proto::Now& now) {
  proto::Ticket ticket{slice, attempt, state.epoch, ""};
  sign_ticket(ticket, state.secret, session.uid, to.executor->id);
  proto::Bytes payload = session.tasks.elements_of(input, slice);
  add_hand(*to.share, {slice, slice, attempt, state.epoch, ticket.token, payload.size(),
                       now.wall_us, now.mono_us});
  set_letters(session, slice, TaskState::kRunning);
  session.counters.pending -= slice.count;
  session.counters.running += slice.count;
  touch(state, session);
  to.executor->dispatched_in = state.last_batch + 1;
  send_durable(state, session, Port::kExecutors, to.executor->peer,
               proto::Dispatch{session.uid, std::move(ticket), std::move(payload)});
}

// Where it is kept warm only: of an application's own executors the emptiest shall become idle.
bool is_spare(const Executor& executor, const Share& share) {
  return !executor.only_application.empty() && share.slots_needed == 0;
}

std::vector<Candidate> candidates(State& state, Session& session) {
  std::vector<Candidate> found, spare;
  for (const auto& id : session.at) {
    auto known = state.executors.find(id);
    if (known == state.executors.end()) continue;
    Executor& executor = known->second;
    if (!executor.takes_tasks()) continue;
    auto share = executor.shares.find(session.uid);
    if (share == executor.shares.end() || share->second.slots_bound == 0) continue;
    if (!share->second.has_context) continue;  // a changed one is being read back
    auto& to = is_spare(executor, share->second) ? spare : found;
    to.push_back({&executor, &share->second, share->second.slots_bound});
  }
  if (found.empty()) found = std::move(spare);  // what it needs is not bound yet
  uint64_t bound = 0;
  for (const auto& candidate : found) bound += candidate.quota;
  // A small backlog is spread over all slots instead of going to whoever comes first.
  for (auto& candidate : found) {
    uint64_t fair = session.tasks.waiting_count() * candidate.quota / std::max<uint64_t>(1, bound);
    candidate.quota = std::max<uint64_t>(1, fair);
  }
  return found;
}

}  // namespace

void seal_fresh(State& state, Session& session, const proto::Now&) {
  for (auto& fresh : session.fresh) {
    InputRun input;
    input.first = fresh.run.first;
    input.count = input.unfinished = static_cast<uint32_t>(fresh.run.count);
    input.sent_us = fresh.sent_us;
    input.received_us = fresh.received_us;
    input.batch = state.last_batch + 1;
    input.body = join(fresh.pieces);
    uint64_t held = state.input_memory + session.tasks.memory_bytes() - session.memory_counted;
    input.in_memory = held + fresh.bytes <= state.config.input_memory_bytes;
    state.ops.push_back(PutInput{session.name, fresh.run, {input.body}});
    if (!input.in_memory) input.body = {};
    session.tasks.add_input(std::move(input));
    session.tasks.wait_back({fresh.run, 0});
    set_letters(session, fresh.run, TaskState::kPending);
  }
  session.fresh.clear();
}

void dispatch(State& state, Session& session, const proto::Now& now) {
  if (!session.dispatches() || !session.tasks.any_waiting()) return;
  auto shares = candidates(state, session);
  for (bool progress = true; progress && session.tasks.any_waiting();) {
    progress = false;
    for (auto& candidate : shares) {
      if (!session.tasks.any_waiting()) break;
      WaitingRun front = session.tasks.front();
      InputRun* input = session.tasks.input_of(front.run.first);
      FLAME_ASSERT(input != nullptr);
      if (!input->in_memory) return read_ahead(state, session, front.run.first);
      Run available = front.run.intersect(input->run());
      uint64_t count = room(candidate, *input, available.count);
      if (count == 0) continue;
      candidate.quota = std::max<uint64_t>(1, candidate.quota - std::min(candidate.quota, count));
      session.tasks.take_front(count);
      hand_over(state, session, candidate, *input, {available.first, count}, front.charged + 1,
                now);
      progress = true;
    }
  }
  if (session.tasks.any_waiting() && state.input_memory >= state.config.input_memory_bytes) {
    read_ahead(state, session, session.tasks.front().run.first);
  }
}

void on_inputs_read(State& state, InputsRead read, const proto::Now& now) {
  auto asked = state.reads.extract(read.tag);
  if (asked.empty()) return;
  Session* session = state.session(asked.mapped().uid);
  if (session == nullptr) return;
  for (size_t i = 0; i < read.runs.size(); i++) {
    InputRun* input = session->tasks.input_of(read.runs[i].first);
    if (input == nullptr) continue;
    input->reading = false;
    if (read.error.code != proto::Code::kOk || input->unfinished == 0) continue;
    auto elements = proto::decode_input(read.values[i].view(), read.runs[i].count);
    if (elements) {
      const auto& value = read.values[i];
      session->tasks.load(*input, value.slice(value.size() - elements->size(), elements->size()));
      continue;
    }
    // Its input is gone or damaged: said by name, once, as the recorded result.
    for (const auto& waiting : session->tasks.take(read.runs[i])) {
      Outcome outcome;
      outcome.run = waiting.run;
      std::string none;
      for (proto::TaskId id = waiting.run.first; id < waiting.run.end(); id++) {
        outcome.head.exceptions.push_back(
            {id, proto::Code::kLostByStore, "Redis does not have the input any more"});
        proto::append_element(none, "");
      }
      outcome.elements = proto::Bytes::own(std::move(none));
      session->counters.pending -= waiting.run.count;
      record(state, *session, std::move(outcome), now);
    }
  }
  // After an error the next second's tick asks again.
  if (read.error.code == proto::Code::kOk) state.ready.insert(session->uid);
}

// ---- the batch
// ------------------------------------------------------------------------------------------

namespace {

void put_letters(State& state, Session& session) {
  bool followed = !session.task_watches.empty() || !session.progress.empty();
  for (const auto& [run, letter] : session.letters) {
    if (followed) note_letters(state, session, run, letter);
    for (proto::TaskId id = run.first; id < run.end();) {
      proto::TaskId end = std::min(run.end(), proto::segment_end(id));
      state.ops.push_back(PutState{session.name, {id, end - id}, letter});
      id = end;
    }
  }
  session.letters.clear();
}

void put_session(State& state, Session& session, const proto::Now& now) {
  put_letters(state, session);
  for (auto& [client, submits] : session.submits) {
    if (!submits.dirty) continue;
    submits.dirty = false;
    submits.history.used_ms = static_cast<uint64_t>(now.wall_ms());
    state.ops.push_back(PutSubmits{session.name, client, proto::encode_submits(submits.history)});
  }
  for (const auto& reader : session.dirty_readers) {
    const auto& [index, seen] = session.readers[reader];
    state.ops.push_back(
        PutReader{session.name, reader, std::to_string(index) + " " + std::to_string(seen)});
  }
  session.dirty_readers.clear();
  if (session.dirty) state.ops.push_back(PutFields{session.name, fields_of(session, false)});
  session.dirty = session.trimmed_dirty = false;
  if (session.done_end != session.done_confirmed) hold_done(state, session);
  state.input_memory += session.tasks.memory_bytes() - session.memory_counted;
  session.memory_counted = session.tasks.memory_bytes();
}

// An executor only forgets what is recorded: where nothing else leaves for it, that is not worth
// waking it while its result is on the way to the client. One that drains waits for it.
bool may_wait(const State& state, const Executor& executor,
              const std::vector<proto::RecordedRun>& runs) {
  return executor.dispatched_in != state.last_batch + 1 && executor.takes_tasks() &&
         runs.size() < kRecordedRunsMax;
}

void send_recorded(State& state, const proto::Now& now) {
  bool due = state.recorded_due_us != 0 && now.mono_us >= state.recorded_due_us;
  for (auto at = state.recorded.begin(); at != state.recorded.end();) {
    auto executor = state.executors.find(at->first);
    if (executor != state.executors.end()) {
      if (!due && may_wait(state, executor->second, at->second)) {
        ++at;
        continue;
      }
      send_after(state, Port::kExecutors, executor->second.peer,
                 proto::Recorded{std::move(at->second)});
    }
    at = state.recorded.erase(at);
  }
  if (state.recorded.empty()) {
    state.recorded_due_us = 0;
  } else if (state.recorded_due_us == 0) {
    state.recorded_due_us = now.mono_us + kRecordedWaitUs;
  }
}

void send_collected(State& state, const proto::Now& now) {
  for (auto& [to, items] : state.acks) {
    Session* session = state.session(to.second);
    if (session == nullptr) continue;
    send_durable(state, *session, Port::kClients, to.first,
                 proto::SubmitAck{to.second, level_reached(state, *session), std::move(items)});
  }
  state.acks.clear();
  send_recorded(state, now);
}

void keep_house(State& state, const proto::Now& now) {
  if (state.housekeeping.empty() || now.mono_us < state.housekeeping_due_us) return;
  state.housekeeping_due_us = now.mono_us + kHousekeepingUs;
  for (auto uid : std::exchange(state.housekeeping, {})) {
    Session* session = state.session(uid);
    if (session == nullptr) continue;
    touch(state, *session);
    trim_read(state, *session, now);
  }
}

}  // namespace

std::optional<Batch> close_batch(State& state, const proto::Now& now) {
  FLAME_ASSERT(!state.in_flight);
  keep_house(state, now);
  auto touched = state.touched;
  for (auto uid : touched) {
    if (Session* session = state.session(uid)) seal_fresh(state, *session, now);
  }
  plan(state, now);
  state.ready.insert(touched.begin(), touched.end());
  for (auto uid : std::exchange(state.ready, {})) {
    if (Session* session = state.session(uid)) dispatch(state, *session, now);
  }
  for (auto uid : std::exchange(state.touched, {})) {
    if (Session* session = state.session(uid)) put_session(state, *session, now);
  }
  send_collected(state, now);
  if (state.ops.empty()) {
    leave(state, state.after);  // everything before them is confirmed
    rest_on_last_batch(state);
    return std::nullopt;
  }
  Batch batch{++state.last_batch, std::exchange(state.ops, {})};
  state.in_flight = true;
  state.after_flight = std::exchange(state.after, {});
  state.done_in_flight = std::exchange(state.done_filling, {});
  state.watched_in_flight = std::exchange(state.watched_filling, {});
  state.ended_in_flight = std::exchange(state.ended_filling, {});
  state.batch_times[batch.number] = {now.wall_us, 0};
  while (state.batch_times.size() > 4096) state.batch_times.erase(state.batch_times.begin());
  state.submits_filling = state.results_filling = {};
  state.totals.batches++;
  return batch;
}

void on_batch_stored(State& state, uint64_t number, const proto::Now& now) {
  if (!state.in_flight || number != state.last_batch) return;
  state.in_flight = false;
  state.batch_times[number].stored_us = now.wall_us;
  state.ready.merge(state.reads_due);
  state.reads_due.clear();
  for (const auto& [uid, done_end] : std::exchange(state.done_in_flight, {})) {
    if (Session* session = state.session(uid)) may_deliver(state, *session, done_end);
  }
  leave(state, state.after_flight);
  ask_watched(state);
  ask_durable(state, number);
}

}  // namespace flame::broker

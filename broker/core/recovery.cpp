// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/recovery.hpp"

#include <algorithm>
#include <unordered_map>

#include "broker/core/applications.hpp"
#include "broker/core/durability.hpp"
#include "broker/core/lifecycle.hpp"
#include "broker/core/retention.hpp"
#include "proto/text.hpp"

namespace flame::broker {

using proto::Run;
using proto::TaskState;

namespace {

using FieldMap = std::unordered_map<std::string, std::string>;

uint64_t number(const FieldMap& fields, const char* name) {
  auto found = fields.find(name);
  if (found == fields.end()) return 0;
  return proto::parse_number<uint64_t>(found->second).value_or(0);
}
std::string text(const FieldMap& fields, const char* name) {
  auto found = fields.find(name);
  return found == fields.end() ? "" : found->second;
}

void read_fields(Session& session, const RecoveredSession& from) {
  FieldMap fields(from.fields.begin(), from.fields.end());
  session.name = from.session;
  session.uid = number(fields, "uid");
  session.owner = text(fields, "owner");
  session.spec.application = text(fields, "application");
  session.spec.priority = number(fields, "priority");
  session.spec.batch_size = std::max<uint64_t>(1, number(fields, "batch_size"));
  session.spec.min_instances = number(fields, "min_instances");
  session.spec.max_instances = number(fields, "max_instances");
  session.spec.durability =
      proto::durability_from(text(fields, "durability")).value_or(proto::Durability::kStored);
  session.spec.retention = text(fields, "retention");
  session.spec.results_ttl_ms = number(fields, "results_ttl_ms");
  session.spec.resources = text(fields, "resources");
  session.state =
      proto::session_state_from(text(fields, "state")).value_or(proto::SessionState::kOpen);
  session.reason = text(fields, "reason");
  session.created_ms = static_cast<int64_t>(number(fields, "created"));
  session.closed_ms = static_cast<int64_t>(number(fields, "closed"));
  session.results_dropped = number(fields, "results_dropped") != 0;
  session.has_common = number(fields, "common") != 0;
  session.common_version = std::max<uint64_t>(1, number(fields, "common_version"));
  session.first_segment = number(fields, "first_segment");
  read_trimmed(session, text(fields, "trimmed"));
  session.done_first = number(fields, "done_first");
  session.done_end = session.done_confirmed = session.done_first + from.done_length;
  session.counters = {
      number(fields, "tasks"),    0, 0, number(fields, "succeed"), number(fields, "failed"),
      number(fields, "cancelled")};
  if (session.spec.retention == "read") session.done_runs.resize(from.done_length);
}

// Of tasks without letters all that is known is how many there are, and what the fields have more
// than the letters.
void add_dropped(const Session& session, proto::Counters& counted) {
  uint64_t dropped = session.first_segment * proto::kSegmentTasks;
  auto take = [&](uint64_t stored, uint64_t seen) {
    uint64_t taken = std::min(dropped, stored > seen ? stored - seen : 0);
    dropped -= taken;
    return taken;
  };
  counted.failed += take(session.counters.failed, counted.failed);
  counted.cancelled += take(session.counters.cancelled, counted.cancelled);
  counted.succeed += dropped;
}

// The letters are the truth; counters follow from them (a session whose letters are dropped keeps
// its fields').
void read_letters(Session& session, const RecoveredSession& from) {
  proto::Counters counted{session.counters.tasks, 0, 0, 0, 0, 0};
  for (const auto& [segment, letters] : from.states) {
    for (size_t at = 0; at < letters.size();) {
      size_t end = std::min(letters.find_first_not_of(letters[at], at), letters.size());
      Run run{segment * proto::kSegmentTasks + at + 1, end - at};
      switch (static_cast<TaskState>(letters[at])) {
        case TaskState::kPending:
          counted.pending += run.count;
          session.tasks.wait_back({run, 0});
          break;
        case TaskState::kRunning:
          counted.running += run.count;
          session.tasks.orphans().push_back(run);
          break;
        case TaskState::kSucceed:
          counted.succeed += run.count;
          break;
        case TaskState::kFailed:
          counted.failed += run.count;
          break;
        case TaskState::kCancelled:
          counted.cancelled += run.count;
          break;
      }
      at = end;
    }
  }
  if (from.states.empty()) return;
  add_dropped(session, counted);
  session.counters = counted;
}

uint64_t overlap(const std::vector<Run>& sorted, const Run& with) {
  uint64_t sum = 0;
  auto at = std::lower_bound(sorted.begin(), sorted.end(), with.first,
                             [](const Run& run, proto::TaskId id) { return run.end() <= id; });
  for (; at != sorted.end() && at->first < with.end(); ++at) sum += at->intersect(with).count;
  return sum;
}

void read_inputs(Session& session, const RecoveredSession& from) {
  std::vector<Run> unfinished = session.tasks.orphans();
  for (const auto& waiting : session.tasks.waiting()) unfinished.push_back(waiting.run);
  std::sort(unfinished.begin(), unfinished.end());
  for (const auto& run : from.inputs) {
    InputRun input;
    input.first = run.first;
    input.count = static_cast<uint32_t>(run.count);
    input.unfinished = static_cast<uint32_t>(overlap(unfinished, run));
    input.keep = input.unfinished == 0;
    if (input.unfinished > 0) session.tasks.add_input(std::move(input));
  }
}

// Ids with charged attempts leave the big waiting runs: a run shares its attempt.
void read_attempts(Session& session, const RecoveredSession& from) {
  for (const auto& [id, charged] : from.attempts) {
    session.charged[id] = charged;
    if (session.tasks.take({id, 1}).empty()) continue;
    session.tasks.wait_front({{id, 1}, charged});
  }
}

void read_clients(Session& session, const RecoveredSession& from) {
  for (const auto& [client, value] : from.submits) {
    if (auto history = proto::decode_submits(value)) session.submits[client].history = *history;
  }
  for (const auto& [reader, value] : from.readers) {
    auto space = value.find(' ');
    auto index = proto::parse_number<uint64_t>(std::string_view(value).substr(0, space));
    if (!index || space == value.npos) continue;
    auto seen = proto::parse_number<int64_t>(std::string_view(value).substr(space + 1));
    session.readers[reader] = {*index, seen.value_or(0)};
  }
}

// Waiting ids whose input is not there would wait for ever: they get their recorded result when
// dispatch finds no input run, so they need one that reads as empty.
void cover_lost_inputs(Session& session) {
  for (const auto& waiting : session.tasks.waiting()) {
    for (proto::TaskId id = waiting.run.first; id < waiting.run.end();) {
      InputRun* input = session.tasks.input_of(id);
      if (input != nullptr) {
        id = input->run().end();
        continue;
      }
      auto& inputs = session.tasks.inputs();
      auto after =
          std::upper_bound(inputs.begin(), inputs.end(), id,
                           [](proto::TaskId i, const InputRun& in) { return i < in.first; });
      proto::TaskId end =
          std::min({waiting.run.end(), proto::segment_end(id), id + proto::kRunTasksMax});
      if (after != inputs.end()) end = std::min(end, after->first);
      InputRun lost;
      lost.first = id;
      lost.count = lost.unfinished = static_cast<uint32_t>(end - id);
      inputs.insert(after, lost);
      id = end;
    }
  }
}

// What a broker that was killed had delivered of a `memory` session may never have been stored, and
// its places in `done` would be given to other results. So none is ever given again: who comes with
// a cursor of an earlier broker is told that results before the first of these are dropped.
void count_results_anew(State& state, Session& session) {
  uint64_t first = state.epoch_number << 32;
  if (session.done_first >= first) return;
  session.done_end = session.done_confirmed = first + (session.done_end - session.done_first);
  session.done_first = first;
  session.trimmed_in = state.last_batch + 1;
  touch(state, session);
}

void recover_session(State& state, const RecoveredSession& from, const proto::Now& now) {
  auto session = std::make_unique<Session>();
  read_fields(*session, from);
  if (session->uid == 0) {
    state.unreadable.insert(from.session);
    return note(state, true,
                "session '" + proto::printable(from.session) + "' has no uid: left alone");
  }
  read_letters(*session, from);
  read_inputs(*session, from);
  read_attempts(*session, from);
  cover_lost_inputs(*session);
  read_clients(*session, from);
  session->idle_since_us = now.mono_us;
  session->dirty = false;
  if (!session->tasks.orphans().empty()) {
    state.readopt_until_us = now.mono_us + int64_t{proto::kReadoptMs} * proto::kUsPerMs;
  }
  state.ready.insert(session->uid);
  state.names[session->name] = session->uid;
  Session& kept = *(state.sessions[session->uid] = std::move(session));
  state.to_plan[kept.uid] = &kept;
  if (kept.spec.durability == proto::Durability::kMemory) count_results_anew(state, kept);
  if (kept.state == proto::SessionState::kClosing) on_tasks_finished(state, kept);
}

// Rows of executors that are not connected now: shown until they come back or their day is over.
void recover_executor(State& state, const std::string& id, const std::string& bytes) {
  auto row = proto::decode_value(bytes);
  if (!row || state.executors.contains(id)) return;
  Executor executor;
  executor.id = id;
  executor.address = row->text_at("address");
  executor.version = row->text_at("version");
  executor.only_application = row->text_at("application");
  executor.provider = row->text_at("provider");
  executor.instance = row->text_at("instance");
  executor.hold = proto::hold_from(row->text_at("hold"));
  executor.state =
      row->text_at("state") == "Left" ? proto::ExecutorState::kLeft : proto::ExecutorState::kLost;
  executor.connected_ms = row->number_at("connected");
  executor.seen_ms = row->number_at("seen");
  state.executors[id] = std::move(executor);
}

// What fills, what is on its way and what was asked rests on a state that is no longer the truth.
void drop_unconfirmed(State& state) {
  state.ops.clear();
  state.after.clear();
  state.after_flight.clear();
  state.acks.clear();
  state.recorded.clear();
  state.recorded_due_us = 0;
  state.touched.clear();
  state.ready.clear();
  state.done_filling.clear();
  state.done_in_flight.clear();
  forget_levels(state);
  state.reads.clear();
  state.task_questions.clear();
  state.watched_filling.clear();
  state.watched_in_flight.clear();
  state.progress_due.clear();
  state.log_questions.clear();
  state.submits_filling = state.results_filling = {};
  state.in_flight = false;
}

// So does what peers were told: all say hello again, and compare what they hold with what there is.
void forget_peers(State& state, const char* why) {
  for (const auto& [peer, client] : state.clients) {
    state.actions.push_back(Send{Port::kClients, peer, {client.link.id(), 0}, proto::Resync{why}});
  }
  for (const auto& [peer, id] : state.executor_peers) {
    uint32_t link = state.executors.at(id).link.id();
    state.actions.push_back(Send{Port::kExecutors, peer, {link, 0}, proto::Resync{why}});
  }
  for (auto& [uid, session] : state.sessions) session->task_watches.clear();
  state.task_watches = 0;
  state.clients.clear();
  state.executors.clear();
  state.slots_connected = 0;
  state.executor_peers.clear();
}

}  // namespace

void on_lineage_broken(State& state, const std::string& reason) {
  state.serving = false;
  state.waits_for_recover = true;
  state.not_serving_because = reason;
  drop_unconfirmed(state);
  forget_peers(state, "Redis lost confirmed writes");
  note(state, true, "confirmed writes are missing: " + reason);
}

void recover(State& state, const Recovered& recovered, const proto::Now& now) {
  drop_unconfirmed(state);
  forget_peers(state, "the state was read again");
  state.epoch = recovered.epoch;
  state.epoch_number = recovered.epoch_number;
  state.lineage = recovered.lineage;
  state.secret = recovered.secret;
  state.last_batch = recovered.last_batch;
  state.input_memory = state.recent_bytes = 0;
  state.sessions.clear();
  state.to_plan.clear();
  state.names.clear();
  state.unreadable.clear();
  state.applications.clear();
  for (const auto& [name, bytes] : recovered.applications) {
    auto value = proto::decode_value(bytes);
    auto application = value ? proto::application_from(*value) : value.error();
    if (application) {
      state.applications[name] = std::move(*application);
    } else {
      note(state, true,
           "application '" + name + "' in Redis is not readable: " + application.error().message);
    }
  }
  for (const auto& [id, row] : recovered.executors) recover_executor(state, id, row);
  for (const auto& session : recovered.sessions) recover_session(state, session, now);
  if (!recovered.lineage_broken) {
    for (auto& [uid, session] : state.sessions) hold_recovered(state, *session);
  }
  state.waits_for_recover = recovered.lineage_broken;
  state.serving = !recovered.lineage_broken;
  state.not_serving_because = recovered.reason;
  state.plan_due = true;
  state.health.writable = true;
  state.health.abilities = recovered.abilities;
  ask_durable(state, state.last_batch);
  if (state.serving) register_builtins(state);
  note(state, recovered.lineage_broken,
       "recovered " + std::to_string(state.sessions.size()) + " sessions, epoch " + state.epoch +
           (recovered.lineage_broken ? "; NOT serving: " + recovered.reason : ""));
}

void requeue_orphans(State& state, const proto::Now& now) {
  if (state.readopt_until_us == 0 || now.mono_us < state.readopt_until_us) return;
  state.readopt_until_us = 0;
  for (auto& [uid, session] : state.sessions) {
    auto orphans = std::exchange(session->tasks.orphans(), {});
    if (orphans.empty()) continue;
    for (const auto& run : orphans) {
      session->counters.running -= run.count;
      session->counters.pending += run.count;
      state.totals.returned += run.count;
      set_letters(*session, run, TaskState::kPending);
      session->tasks.wait_front({run, 0});
    }
    // A run shares its attempt, and some of these may have been tried before.
    for (const auto& [id, charged] : session->charged) {
      if (!session->tasks.take({id, 1}).empty()) session->tasks.wait_front({{id, 1}, charged});
    }
    add_event(state, *session, now, "requeued",
              "running tasks that no executor claimed after the broker's restart");
    state.plan_due = true;
  }
}

}  // namespace flame::broker

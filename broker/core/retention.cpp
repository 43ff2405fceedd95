// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/retention.hpp"

#include <algorithm>

#include "broker/core/applications.hpp"
#include "broker/core/delivery.hpp"
#include "broker/core/dispatch.hpp"
#include "broker/core/lifecycle.hpp"
#include "proto/text.hpp"

namespace flame::broker {

using proto::Run;
using proto::SessionState;

namespace {

// Names that nobody has read under for so long: they hold no results any more.
void forget_readers(State& state, Session& session, const proto::Now& now) {
  std::erase_if(session.readers, [&](const auto& entry) {
    const auto& [name, seen] = entry;
    if (now.wall_ms() - seen.second <= static_cast<int64_t>(proto::kReaderTtlMs)) return false;
    session.dirty_readers.erase(name);
    state.ops.push_back(PutReader{session.name, name, ""});
    return true;
  });
}

// What left is shown for a day.
void forget_executors(State& state, const proto::Now& now) {
  std::erase_if(state.executors, [&](const auto& entry) {
    const Executor& executor = entry.second;
    bool old = now.wall_ms() - executor.seen_ms > static_cast<int64_t>(proto::kExecutorTtlMs);
    if (executor.serves() || !old) return false;
    state.ops.push_back(PutExecutor{executor.id, ""});
    return true;
  });
}

}  // namespace

void apply_retention(State& state, const proto::Now& now) {
  std::vector<Session*> over;
  for (auto& [uid, session] : state.sessions) {
    if (session->state != SessionState::kClosed) continue;
    auto application = application_of(state, *session);
    uint64_t results = session->spec.results_ttl_ms;
    if (results == 0) {
      results = application != nullptr ? application->results_ttl_ms : proto::kResultsTtlMs;
    }
    uint64_t summary = application != nullptr ? application->summary_ttl_ms : proto::kSummaryTtlMs;
    auto closed_for =
        static_cast<uint64_t>(std::max<int64_t>(0, now.wall_ms() - session->closed_ms));
    if (closed_for >= std::max(summary, results)) {
      over.push_back(session.get());
    } else if (closed_for >= results && !session->results_dropped &&
               session->reads_in_flight == 0 && session->done_confirmed == session->done_end) {
      session->results_dropped = true;
      session->done_first = session->done_end;
      session->done_runs.clear();
      session->tasks.forget_kept_inputs();
      forget_recent(state, *session);
      drop_segments(state, *session, false);
      state.ops.push_back(DropResults{session->name});
      make_room(state);
      touch(state, *session);
    }
  }
  for (Session* session : over) delete_session(state, *session);
  forget_executors(state, now);
  for (auto& [uid, session] : state.sessions) {
    forget_readers(state, *session, now);
    for (auto entry = session->submits.begin(); entry != session->submits.end();) {
      // A dirty one was used since the last batch, which is when used_ms is set: the first one
      // still has 0.
      bool old = !entry->second.dirty &&
                 now.wall_ms() - static_cast<int64_t>(entry->second.history.used_ms) >
                     static_cast<int64_t>(proto::kClientTtlMs);
      if (old && !session->finished()) {
        state.ops.push_back(PutSubmits{session->name, entry->first, ""});
        entry = session->submits.erase(entry);
      } else {
        ++entry;
      }
    }
  }
}

namespace {

// Runs of a broker before: what they are stands in Redis only. They are few, read but not dropped
// when it ended; or many, where a reader that held them back was forgotten.
void ask_names(State& state, Session& session, uint64_t until) {
  constexpr uint64_t kEntriesAtOnce = 64;
  if (session.state == proto::SessionState::kSuspended) return;
  if (state.confirmed_batch() < session.trimmed_in) {  // positions would be wrong
    state.housekeeping.insert(session.uid);
    return;
  }
  uint64_t tag = state.next_tag++;
  session.reads_in_flight++;
  state.reads[tag] = {session.uid, {}, 0};
  uint64_t count = std::min(kEntriesAtOnce, until - session.done_first);
  state.actions.push_back(StoreRead{
      ReadOutputs{tag, session.name, 0, count, session.done_first, proto::kDeliverBytesMax}});
}

// Only from the front: one number says which are gone. What follows an unfinished task waits.
void drop_trimmed(State& state, Session& session) {
  uint64_t from = session.first_segment;
  while (!session.trimmed.empty() && session.trimmed.begin()->first == session.first_segment &&
         session.trimmed.begin()->second == proto::kSegmentTasks) {
    session.trimmed.erase(session.trimmed.begin());
    session.first_segment++;
  }
  if (session.first_segment == from) return;
  session.tasks.forget_kept_inputs(session.first_recorded());
  state.ops.push_back(DropSegments{session.name, from, session.first_segment - 1, true});
}

}  // namespace

void drop_segments(State& state, const Session& session, bool letters) {
  if (session.counters.tasks < session.first_recorded()) return;
  state.ops.push_back(DropSegments{session.name, session.first_segment,
                                   proto::segment_of(session.counters.tasks), letters});
}

std::string text_of_trimmed(const Session& session) {
  std::string text;
  for (const auto& [segment, tasks] : session.trimmed) {
    if (!text.empty()) text += ' ';
    text += std::to_string(segment) + ":" + std::to_string(tasks);
  }
  return text;
}

void read_trimmed(Session& session, std::string_view text) {
  while (!text.empty()) {
    auto entry = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), entry.size() + 1));
    auto colon = std::min(entry.size(), entry.find(':'));
    auto segment = proto::parse_number<uint64_t>(entry.substr(0, colon));
    auto tasks = proto::parse_number<uint64_t>(entry.substr(std::min(entry.size(), colon + 1)));
    if (segment && tasks && *segment >= session.first_segment) session.trimmed[*segment] = *tasks;
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
    session.trimmed[proto::segment_of(run.first)] += run.count;
    session.done_runs.pop_front();
    session.done_first++;
    trim.count++;
  }
  if (trim.count > 0) {
    session.trimmed_in = state.last_batch + 1;
    state.ops.push_back(std::move(drop));
    state.ops.push_back(std::move(trim));
    session.trimmed_dirty = true;
    drop_trimmed(state, session);
    touch(state, session);
  }
  if (session.done_first < until && !session.done_runs.empty()) ask_names(state, session, until);
}

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/task_watches.hpp"

#include "broker/core/clients.hpp"
#include "broker/core/task_questions.hpp"

namespace flame::broker {

using proto::Code;
using proto::TaskId;
using proto::TaskState;

namespace {

using Key = std::pair<TaskId, uint64_t>;

void ask(State& state, Session& session, const Key& key, TaskWatch& watch) {
  watch.changed = watch.asked;
  if (watch.asked) return;
  watch.asked = true;
  TaskQuestion question;
  question.peer = watch.peer;
  question.request = watch.request;
  question.uid = session.uid;
  question.payloads = watch.payloads;
  question.limit = 1;
  question.next = key.first;
  question.watch = key.second;
  question.known = watch.known;
  ask_tasks(state, session, std::move(question));
}

// Asking may end a watch at once: never while walking over them.
void ask_all(State& state, Session& session, TaskId task) {
  std::vector<uint64_t> tags;
  for (auto at = session.task_watches.lower_bound({task, 0});
       at != session.task_watches.end() && at->first.first == task; ++at) {
    tags.push_back(at->first.second);
  }
  for (auto tag : tags) {
    auto found = session.task_watches.find({task, tag});
    if (found != session.task_watches.end()) ask(state, session, found->first, found->second);
  }
}

// Watches that their client has given up look like any other: the oldest goes, and one that
// somebody still wants is asked again.
void drop_oldest_watch(State& state, Session& session, Client& client, TaskId task) {
  uint64_t count = 0;
  auto oldest = session.task_watches.end();
  for (auto at = session.task_watches.lower_bound({task, 0});
       at != session.task_watches.end() && at->first.first == task; ++at) {
    if (at->second.peer == client.peer && count++ == 0) oldest = at;
  }
  if (count < proto::kTaskWatchesEachMax) return;
  refuse(state, client, oldest->second.request,
         {Code::kBusy,
          std::to_string(count) +
              " later requests of this client watch the task (task_watches_each_max)",
          1000});
  session.task_watches.erase(oldest);
  state.task_watches--;
}

}  // namespace

void on_watch_task(State& state, Client& client, const proto::WatchTask& message) {
  auto found = find_session(state, message.session);
  if (!found) return refuse(state, client, message.request, found.error());
  Session& session = **found;
  if (message.task == 0 || message.task > session.counters.tasks) {
    return refuse(state, client, message.request,
                  {Code::kNotFound,
                   "session '" + session.name + "' has no task " + std::to_string(message.task)});
  }
  if (message.task < session.first_recorded()) {
    return refuse(state, client, message.request, no_letters(session, message.task));
  }
  drop_oldest_watch(state, session, client, message.task);
  if (state.task_watches >= proto::kTaskWatchesMax) {
    return refuse(state, client, message.request,
                  {Code::kBusy,
                   std::to_string(state.task_watches) +
                       " tasks are being watched already (task_watches_max); ask again",
                   1000});
  }
  Key key{message.task, state.next_tag++};
  state.task_watches++;
  auto& watch = session.task_watches[key];
  watch = {client.peer, message.request, message.known, message.payloads};
  // The batch in flight may hold its last letter, and was closed before anybody asked.
  if (state.in_flight) state.watched_in_flight.emplace(session.uid, message.task);
  ask(state, session, key, watch);
}

void note_letters(State& state, Session& session, const proto::Run& run, TaskState letter) {
  if (letter != TaskState::kRunning && !session.progress.empty())
    state.ended_filling.emplace_back(session.uid, run);
  auto from = session.task_watches.lower_bound({run.first, 0});
  for (; from != session.task_watches.end() && from->first.first < run.end(); ++from) {
    state.watched_filling.emplace(session.uid, from->first.first);
  }
}

void ask_watched(State& state) {
  for (const auto& [uid, run] : std::exchange(state.ended_in_flight, {})) {
    Session* session = state.session(uid);
    if (session == nullptr) continue;
    auto& progress = session->progress;
    progress.erase(progress.lower_bound(run.first), progress.lower_bound(run.end()));
  }
  for (const auto& [uid, task] : std::exchange(state.watched_in_flight, {})) {
    if (Session* session = state.session(uid)) ask_all(state, *session, task);
  }
}

void on_progress_of(State& state, Session& session, TaskId task) {
  if (!session.task_watches.empty()) ask_all(state, session, task);
}

bool end_watch(State& state, Session& session, const TaskQuestion& question, bool news) {
  TaskId task = question.asked.first;
  auto found = session.task_watches.find({task, question.watch});
  if (found == session.task_watches.end()) return false;  // its client left
  TaskWatch& watch = found->second;
  watch.asked = false;
  if (news) {
    session.task_watches.erase(found);
    state.task_watches--;
    return true;
  }
  if (watch.changed) ask(state, session, found->first, watch);
  return false;
}

void forget_task_watches(State& state, Session& session, const Peer& peer) {
  state.task_watches -= std::erase_if(session.task_watches,
                                      [&](const auto& entry) { return entry.second.peer == peer; });
}

void end_task_watches(State& state, Session& session) {
  for (const auto& [key, watch] : session.task_watches) {
    auto client = state.clients.find(watch.peer);
    if (client == state.clients.end()) continue;
    refuse(state, client->second, watch.request, {Code::kGone, "the session was deleted"});
  }
  state.task_watches -= session.task_watches.size();
  session.task_watches.clear();
}

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/delivery.hpp"

#include <algorithm>

#include "broker/core/clients.hpp"
#include "proto/elements.hpp"

namespace flame::broker {

using proto::Code;
using proto::Run;

namespace {

uint64_t cost(const proto::Results& results) { return results.payload.size() + 128; }

bool has_room(const Watcher& watcher, uint64_t bytes) {
  return watcher.unacked_bytes == 0 || watcher.unacked_bytes + bytes <= watcher.window_bytes;
}

void send_result(State& state, const Peer& peer, Watcher& watcher, proto::Results message) {
  auto client = state.clients.find(peer);
  if (client == state.clients.end()) return;
  watcher.next = message.index + 1;
  watcher.unacked_bytes += cost(message);
  watcher.unacked.emplace_back(message.index, cost(message));
  send_now(state, client->second, std::move(message));
}

bool drops_read(const Session& session) {
  return session.spec.retention == "read" && session.done_first < session.done_end;
}

// Entries below have left Redis' doubt behind, or need not wait for it.
uint64_t deliverable_end(const Session& session) {
  bool at_once = session.spec.durability == proto::Durability::kMemory;
  return at_once ? session.done_end : session.done_confirmed;
}

void drop_front(State& state, Recent& recent) {
  uint64_t bytes = cost(recent.results.front().message);
  recent.bytes -= bytes;
  state.recent_bytes -= bytes;
  recent.results.pop_front();
}

void stamp(const State& state, RecentResult& result) {
  auto& stamps = result.message.stamps;
  auto times = state.batch_times.find(result.batch);
  if (stamps.size() < 8 || times == state.batch_times.end()) return;
  stamps[6] = static_cast<uint64_t>(times->second.written_us);
  stamps[7] = static_cast<uint64_t>(times->second.stored_us);
}

// What stands in memory and may leave. False: the watcher needs older ones, from the store.
bool send_recent(State& state, Session& session, const Peer& peer, Watcher& watcher) {
  auto& results = session.recent.results;
  if (results.empty() || watcher.next < results.front().message.index) return false;
  size_t at = watcher.next - results.front().message.index;
  for (; at < results.size() && watcher.next < deliverable_end(session); at++) {
    if (!has_room(watcher, cost(results[at].message))) break;
    stamp(state, results[at]);
    send_result(state, peer, watcher, results[at].message);
  }
  return true;
}

// One watcher's part: from memory, or by asking the store.
void pump(State& state, Session& session, const Peer& peer, Watcher& watcher) {
  constexpr uint64_t kEntriesAtOnce = 64;
  if (watcher.reading != 0 || watcher.next >= deliverable_end(session)) return;
  if (watcher.unacked_bytes >= watcher.window_bytes) return;
  if (send_recent(state, session, peer, watcher)) return;
  if (watcher.next >= session.done_confirmed) return;
  if (state.confirmed_batch() < session.trimmed_in) return;  // on_batch_stored asks again
  watcher.reading = state.next_tag++;
  session.reads_in_flight++;
  state.reads[watcher.reading] = {session.uid, peer, 0};
  uint64_t until = std::min(session.recent.first(session.done_end), session.done_confirmed);
  uint64_t count = std::min(kEntriesAtOnce, until - watcher.next);
  uint64_t room = watcher.window_bytes - watcher.unacked_bytes;
  state.actions.push_back(
      StoreRead{ReadOutputs{watcher.reading, session.name, watcher.next - session.done_first, count,
                            watcher.next, room}});
}

// What every watcher has had; over the budget also what one still lacks, if the store has it.
void drop_recent(State& state, Session& session) {
  uint64_t needed = session.recent.end();
  for (const auto& [peer, watcher] : session.watchers) needed = std::min(needed, watcher.next);
  auto& results = session.recent.results;
  while (!results.empty()) {
    bool over = state.recent_bytes > proto::kRecentResultBytesMax;
    bool stored = results.front().batch <= state.confirmed_batch();
    if (results.front().message.index >= needed && !(over && stored)) break;
    drop_front(state, session.recent);
  }
}

}  // namespace

void forget_recent(State& state, Session& session) {
  while (!session.recent.results.empty()) drop_front(state, session.recent);
}

void remember_result(State& state, Session& session, proto::Results message) {
  if (session.watchers.empty()) return forget_recent(state, session);
  uint64_t bytes = cost(message);
  session.recent.bytes += bytes;
  state.recent_bytes += bytes;
  session.recent.results.push_back({std::move(message), state.last_batch + 1});
  if (session.spec.durability == proto::Durability::kMemory) deliver(state, session);
}

void deliver(State& state, Session& session) {
  for (auto& [peer, watcher] : session.watchers) pump(state, session, peer, watcher);
  drop_recent(state, session);
}

void on_watch(State& state, Client& client, const proto::Watch& message, const proto::Now& now) {
  Session* session = state.session(message.uid);
  bool missing = session == nullptr || message.index > session->done_end;
  if (missing && state.waits_for_recover) {
    return refuse(state, client, message.request, lost_lineage(state));
  }
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
  auto reader = message.reader.substr(0, proto::kNameBytesMax);
  if (!reader.empty() && !session->readers.contains(reader) &&
      session->readers.size() >= proto::kReadersMax) {
    return refuse(state, client, message.request,
                  {Code::kBadRequest,
                   "session '" + session->name + "' has " + std::to_string(proto::kReadersMax) +
                       " readers already (readers_max); read under a name that was used before"});
  }
  Watcher watcher;
  watcher.reader = std::move(reader);
  watcher.next = watcher.acked = std::max(message.index, session->done_first);
  watcher.window_bytes = std::clamp<uint64_t>(message.window_bytes, 1, proto::kDeliverBytesMax);
  if (!watcher.reader.empty()) session->readers[watcher.reader] = {watcher.next, now.wall_ms()};
  send_now(state, client,
           proto::Watching{message.request, session->uid, watcher.next, session->done_end});
  session->watchers[client.peer] = std::move(watcher);
  // What it has read under an earlier broker may still be there.
  if (drops_read(*session)) state.housekeeping.insert(session->uid);
  deliver(state, *session);
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
  deliver(state, *session);
}

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

namespace {

void learn_runs(State& state, Session& session, const OutputsRead& read) {
  if (!drops_read(session) || read.runs.empty()) return;
  state.housekeeping.insert(session.uid);  // trimming waits for reads, and for these names
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
  learn_runs(state, *session, read);
  auto found = session->watchers.find(asked.mapped().peer);
  if (found == session->watchers.end() || found->second.reading != read.tag) return;
  Watcher& watcher = found->second;
  watcher.reading = 0;
  for (size_t i = 0; i < read.runs.size() && watcher.next == read.first + i; i++) {
    auto message = from_store(*session, read.first + i, read.runs[i], read.values[i]);
    if (!has_room(watcher, cost(message))) break;
    send_result(state, found->first, watcher, std::move(message));
  }
  // While Redis is away it is tried again with the next acknowledgement or tick.
  if (read.error.code != Code::kOk && session->state == proto::SessionState::kSuspended) {
    auto client = state.clients.find(asked.mapped().peer);
    if (client == state.clients.end()) return;
    return send_now(state, client->second,
                    proto::SessionChanged{session->uid, session->state, session->counters,
                                          session->done_end, read.error.message});
  }
  if (read.error.code == Code::kOk && !read.runs.empty()) deliver(state, *session);
}

}  // namespace flame::broker

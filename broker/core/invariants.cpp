// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <algorithm>
#include <map>

#include "broker/core/core.hpp"

namespace flame::broker {

namespace {

using proto::Run;

std::string where(const Session& session, const std::string& what) {
  return "session " + session.name + ": " + what;
}

// Runs that must not overlap: each id is in one place.
std::string overlapping(const Session& session, std::vector<Run> runs) {
  std::sort(runs.begin(), runs.end());
  for (size_t i = 1; i < runs.size(); i++) {
    if (runs[i - 1].overlaps(runs[i])) {
      return where(session, to_string(runs[i - 1]) + " and " + to_string(runs[i]) + " overlap");
    }
  }
  return "";
}

std::string check_share(const Session& session, const Executor& executor, const Share& share) {
  uint64_t tasks = 0;
  for (const auto& [first, hand] : share.hands) {
    if (first != hand.run.first || !hand.ticket_run.contains(hand.run)) {
      return where(session, "a hand of " + executor.id + " is not a part of its ticket");
    }
    tasks += hand.run.count;
  }
  if (tasks != share.tasks) return where(session, "share of " + executor.id + " counts wrong");
  return "";
}

std::string check_session(const State& state, const Session& session) {
  std::vector<Run> places;
  uint64_t pending = 0, running = 0;
  for (const auto& fresh : session.fresh) places.push_back(fresh.run), pending += fresh.run.count;
  for (const auto& waiting : session.tasks.waiting()) {
    places.push_back(waiting.run);
    pending += waiting.run.count;
  }
  if (session.tasks.waiting_count() +
          [&] {
            uint64_t fresh = 0;
            for (const auto& run : session.fresh) fresh += run.run.count;
            return fresh;
          }() !=
      pending) {
    return where(session, "the waiting count is wrong");
  }
  for (const auto& orphan : session.tasks.orphans())
    places.push_back(orphan), running += orphan.count;
  for (const auto& [id, executor] : state.executors) {
    auto share = executor.shares.find(session.uid);
    if (share == executor.shares.end()) continue;
    if (auto wrong = check_share(session, executor, share->second); !wrong.empty()) return wrong;
    for (const auto& [first, hand] : share->second.hands) places.push_back(hand.run);
    running += share->second.tasks;
  }
  const auto& c = session.counters;
  if (pending != c.pending || running != c.running) {
    return where(session, "counters say " + std::to_string(c.pending) + " pending, " +
                              std::to_string(c.running) + " running; there are " +
                              std::to_string(pending) + " and " + std::to_string(running));
  }
  if (c.tasks != c.pending + c.running + c.succeed + c.failed + c.cancelled) {
    return where(session, "the counters do not add up to tasks");
  }
  if (session.done_first > session.done_confirmed || session.done_confirmed > session.done_end) {
    return where(session, "done indexes are out of order");
  }
  const auto& recent = session.recent.results;
  for (size_t i = 0; i < recent.size(); i++) {
    if (recent[i].message.index != session.done_end - recent.size() + i) {
      return where(session, "the results in memory are not the last ones");
    }
  }
  return overlapping(session, std::move(places));
}

}  // namespace

std::string Core::broken_invariant() const {
  uint64_t recent_bytes = 0;
  for (const auto& [uid, session] : state_.sessions) {
    recent_bytes += session->recent.bytes;
    if (auto wrong = check_session(state_, *session); !wrong.empty()) return wrong;
    uint64_t slots = 0;
    for (const auto& [id, executor] : state_.executors) {
      if (!executor.takes_tasks()) continue;
      slots += static_cast<uint64_t>(
          std::count_if(executor.slots.begin(), executor.slots.end(),
                        [uid = uid](const Slot& s) { return s.wanted == uid; }));
    }
    if (slots != session->slots_bound) return where(*session, "slots_bound is wrong");
    bool may_want = session->counters.unfinished() > 0 || slots > 0 ||
                    (session->takes_tasks() && session->spec.min_instances > 0);
    if (may_want && !state_.to_plan.contains(uid)) return where(*session, "no plan looks at it");
    if (session->spec.max_instances != 0 && slots > session->spec.max_instances) {
      return where(*session, "has more slots than max_instances");
    }
  }
  uint64_t slots_connected = 0;
  for (const auto& [id, executor] : state_.executors) {
    slots_connected += executor.slots.size();
    bool bound = std::any_of(executor.slots.begin(), executor.slots.end(),
                             [](const Slot& slot) { return slot.wanted != 0; });
    if (bound && !executor.takes_tasks()) return "executor " + id + " has slots and takes no tasks";
  }
  if (slots_connected != state_.slots_connected) return "the slots of executors do not add up";
  if (recent_bytes != state_.recent_bytes) return "the bytes of results in memory do not add up";
  std::map<Peer, uint64_t> requests;
  for (const auto& queue : state_.levels) {
    for (const auto& [batch, group] : queue.groups) {
      for (const auto& send : group.sends)
        requests[send.peer] += std::holds_alternative<proto::SubmitAck>(send.message) ? 0 : 1;
    }
  }
  for (const auto& [peer, client] : state_.clients) {
    if (requests[peer] != client.requests_waiting) return "requests that wait are counted wrong";
  }
  return "";
}

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// The thin part around the scheduler's pure function: what it is told, and how its answer becomes
// Bind messages.

#include <algorithm>

#include "broker/core/contexts.hpp"
#include "broker/core/dispatch.hpp"
#include "broker/core/executors.hpp"
#include "broker/core/scheduler.hpp"

namespace flame::broker {

namespace {

uint64_t wanted_slots(const Session& session, uint64_t slots, int64_t now_us) {
  if (!session.dispatches() || now_us < session.start_after_us) return 0;
  uint64_t wanted = session.counters.unfinished();
  if (session.state == proto::SessionState::kOpen) {
    wanted = std::max(wanted, session.spec.min_instances);
  }
  if (session.spec.max_instances != 0) wanted = std::min(wanted, session.spec.max_instances);
  return std::min(wanted, slots);
}

uint64_t slots_of(const State& state) {
  uint64_t slots = 0;
  for (const auto& [id, executor] : state.executors) {
    if (executor.takes_tasks()) slots += executor.slots.size();
  }
  return slots;
}

// A session that had nothing to do must not cash in on the time it was idle.
void join_the_queue(State& state, Session& session) {
  int64_t least = INT64_MAX;
  for (const auto& [uid, other] : state.to_plan) {
    if (other != &session && other->plan_wanted != 0 && other->plan_wanted != UINT64_MAX) {
      least = std::min(least, other->served_us);
    }
  }
  if (least != INT64_MAX) session.served_us = std::max(session.served_us, least);
}

PlanSession plan_session(const State& state, const Session& session, uint64_t wanted,
                         int64_t now_us) {
  PlanSession plan;
  plan.uid = session.uid;
  plan.application = session.spec.application;
  plan.wanted = wanted;
  plan.min = session.state == proto::SessionState::kOpen ? session.spec.min_instances : 0;
  plan.tasks = session.counters.unfinished();
  plan.served_us = session.served_us;
  plan.bound_us = session.slots_bound > 0 ? session.bound_us : 0;
  auto application = application_of(state, session);
  uint64_t delay_ms = proto::kDelayReleaseMs;
  if (application != nullptr) {
    plan.application_max = application->max_instances;
    delay_ms = application->delay_release_ms;
  }
  if (session.state == proto::SessionState::kOpen && session.slots_bound > 0) {
    int64_t since = session.counters.unfinished() > 0 ? now_us : session.idle_since_us;
    plan.linger_until_us = since + static_cast<int64_t>(delay_ms) * proto::kUsPerMs;
  }
  if (session.slots_bound > 0)
    plan.linger_until_us = std::max(plan.linger_until_us, session.start_after_us);
  return plan;
}

// Times at which to look again; 0 is never.
int64_t sooner(int64_t a, int64_t b) { return a == 0 || b == 0 ? std::max(a, b) : std::min(a, b); }

// It need not be looked at again until it is touched.
bool is_quiet(const Session& session, int64_t now_us) {
  bool keeps_slots = session.takes_tasks() && session.spec.min_instances > 0;
  return session.counters.unfinished() == 0 && session.slots_bound == 0 && !keeps_slots &&
         session.start_after_us <= now_us;
}

// Says in plan_again_us when the first of those that wait to start may be tried again.
std::vector<PlanSession> plan_sessions(State& state, uint64_t slots, int64_t now_us) {
  std::vector<PlanSession> sessions;
  state.plan_again_us = 0;
  for (auto& [uid, session] : state.to_plan) {
    uint64_t wanted = wanted_slots(*session, slots, now_us);
    if (session->counters.unfinished() > 0) session->idle_since_us = now_us;
    bool joins = wanted > 0 && (session->plan_wanted == 0 || session->plan_wanted == UINT64_MAX);
    if (joins) join_the_queue(state, *session);
    session->plan_wanted = wanted;
    if (session->start_after_us > now_us)
      state.plan_again_us = sooner(state.plan_again_us, session->start_after_us);
    if (wanted == 0 && session->slots_bound == 0) continue;
    sessions.push_back(plan_session(state, *session, wanted, now_us));
  }
  std::erase_if(state.to_plan, [&](const auto& one) { return is_quiet(*one.second, now_us); });
  return sessions;
}

void apply(State& state, Executor& executor, size_t index, proto::SessionUid wanted,
           const proto::Now& now) {
  Slot& slot = executor.slots[index];
  if (slot.wanted == wanted) return;
  // Its common data is being read back: until then the slot serves nobody. Leaving it to its old
  // session could give that one more than its max_instances, as the plan counted it elsewhere.
  if (wanted != 0 && !offer_context(state, executor, *state.session(wanted))) wanted = 0;
  if (slot.wanted == wanted) return;
  if (Session* before = state.session(slot.wanted)) {
    slot.warm = before->spec.application;
    before->slots_bound--;
    note_slots(state, *before, executor, now);
  }
  if (slot.wanted != 0) release_share(executor, slot.wanted);
  slot.wanted = wanted;
  slot.generation++;
  slot.tried_us = now.mono_us;
  slot.failed = false;
  executor.bind_due = executor.dirty = true;
  if (wanted == 0) return;
  Session& session = *state.session(wanted);
  executor.shares[wanted].slots_wanted++;
  note_slots(state, session, executor, now);
  if (session.slots_bound++ == 0) session.bound_us = now.mono_us;
}

void count_needed(Executor& executor) {
  for (auto& [uid, share] : executor.shares) share.slots_needed = 0;
  for (const auto& slot : executor.slots) {
    if (slot.wanted != 0 && !slot.spare) executor.shares[slot.wanted].slots_needed++;
  }
}

}  // namespace

void plan(State& state, const proto::Now& now) {
  for (auto uid : state.touched) {
    Session* session = state.session(uid);
    if (session == nullptr) continue;
    if (wanted_slots(*session, state.slots, now.mono_us) != session->plan_wanted)
      state.plan_due = true;
  }
  bool again = state.plan_again_us != 0 && now.mono_us >= state.plan_again_us;
  if (!state.serving || (!state.plan_due && !again)) return;
  state.plan_due = false;
  state.slots = slots_of(state);
  auto sessions = plan_sessions(state, state.slots, now.mono_us);
  std::vector<PlanSlot> slots;
  std::vector<std::pair<Executor*, size_t>> places;
  size_t number = 0;
  for (auto& [id, executor] : state.executors) {
    if (!executor.takes_tasks()) continue;
    number++;
    for (size_t i = 0; i < executor.slots.size(); i++) {
      const Slot& slot = executor.slots[i];
      Session* session = state.session(slot.wanted);
      auto share = executor.shares.find(slot.wanted);
      bool busy = share != executor.shares.end() &&
                  share->second.tasks >= share->second.slots_wanted && share->second.tasks > 0;
      slots.push_back({number, executor.only_application, session == nullptr ? 0 : slot.wanted,
                       session == nullptr ? slot.warm : session->spec.application, busy});
      places.emplace_back(&executor, i);
    }
  }
  Plan planned = plan_slots(sessions, slots, now.mono_us);
  state.plan_again_us = sooner(state.plan_again_us, planned.look_again_us);
  for (size_t i = 0; i < places.size(); i++) {
    auto& [executor, index] = places[i];
    apply(state, *executor, index, planned.wanted[i], now);
    executor->slots[index].spare = planned.spare[i];
  }
  for (auto& [executor, index] : places) {
    if (index != 0) continue;
    count_needed(*executor);
    if (executor->bind_due) send_bind(state, *executor, now);
  }
}

}  // namespace flame::broker

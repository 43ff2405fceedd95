// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/demand.hpp"

#include <algorithm>

#include "broker/core/executors.hpp"

namespace flame::broker {

namespace {

/// An executor that has nothing to do between two tasks is not idle: its row would be written all
/// the time.
constexpr int64_t kIdleMs = 1000;
/// Of the run times: three of four tasks take no longer.
constexpr double kQuantile = 0.75;

struct Demand {
  uint64_t pending = 0, running = 0, bound = 0, sessions = 0;
  uint64_t minimum = 0, reserved = 0, usable = 0;
  uint64_t busy = 0, busy_shared = 0, slots = 0;
  std::vector<int64_t> ages_us;  ///< of what runs now
};

void add_session(Demand& demand, const Session& session) {
  uint64_t unfinished = session.counters.unfinished();
  uint64_t most = session.spec.max_instances == 0 ? UINT64_MAX : session.spec.max_instances;
  demand.pending += session.counters.pending;
  demand.running += session.counters.running;
  demand.bound += session.slots_bound;
  demand.sessions++;
  if (session.dispatches()) demand.usable += std::min(unfinished, most);
  if (!session.takes_tasks()) return;
  uint64_t minimum = std::min(session.spec.min_instances, most);
  demand.minimum += minimum;
  demand.reserved += minimum - std::min(minimum, unfinished);
}

void add_share(Demand& demand, const Executor& executor, const Share& share,
               const proto::Now& now) {
  // A window may be a task ahead of the slots.
  uint64_t busy = std::min(share.tasks, share.slots_wanted);
  demand.busy += busy;
  if (executor.only_application.empty()) demand.busy_shared += busy;
  for (const auto& [first, hand] : share.hands) {
    if (hand.since_us > 0) demand.ages_us.push_back(now.mono_us - hand.since_us);
  }
}

struct Demands {
  std::map<std::string, Demand> of;
  uint64_t shared = 0;  ///< slots of executors that serve any application
  uint64_t busy_shared = 0;
};

Demands demands(const State& state, const proto::Now& now) {
  Demands all;
  for (const auto& [name, application] : state.applications) all.of[name];
  for (const auto& [uid, session] : state.sessions) {
    if (!session->finished()) add_session(all.of[session->spec.application], *session);
  }
  for (const auto& [id, executor] : state.executors) {
    if (!executor.takes_tasks()) continue;
    if (executor.only_application.empty()) {
      all.shared += executor.slots.size();
    } else if (auto own = all.of.find(executor.only_application); own != all.of.end()) {
      own->second.slots += executor.slots.size();
    }
    for (const auto& [uid, share] : executor.shares) {
      auto session = state.sessions.find(uid);
      if (session == state.sessions.end()) continue;
      add_share(all.of[session->second->spec.application], executor, share, now);
    }
  }
  for (auto& [name, demand] : all.of) {
    auto application = state.applications.find(name);
    if (application != state.applications.end())
      demand.usable = std::min(demand.usable, application->second.max_instances);
    all.busy_shared += demand.busy_shared;
  }
  return all;
}

// What finished says, unless what runs now takes longer already: the first tasks of an hour must
// not look short for an hour. Some of it waits in the executor for a slot, so that up to twice the
// time shows nothing.
int64_t run_time_us(const State& state, const std::string& application, Demand& demand) {
  auto known = state.run_times.find(application);
  int64_t finished_us = known == state.run_times.end() ? 0 : known->second.quantile_us(kQuantile);
  if (demand.ages_us.empty()) return finished_us;
  auto middle = demand.ages_us.begin() + static_cast<std::ptrdiff_t>(demand.ages_us.size() / 2);
  std::nth_element(demand.ages_us.begin(), middle, demand.ages_us.end());
  bool shows = *middle > std::max(2 * finished_us, proto::kUsPerSecond);
  return shows ? RunTimes::step_of(*middle) : finished_us;
}

proto::Map row_of(const State& state, const std::string& name, Demand demand, const Demands& all) {
  uint64_t shared = all.shared - (all.busy_shared - demand.busy_shared);
  double run = static_cast<double>(run_time_us(state, name, demand)) / 1e6;
  return {{"pending", demand.pending},
          {"running", demand.running},
          {"bound", demand.bound},
          {"busy", demand.busy},
          {"sessions", demand.sessions},
          {"slots", demand.slots + shared},
          {"shared", shared},
          {"minimum", demand.minimum},
          {"reserved", demand.reserved},
          {"usable", demand.usable},
          {"run_seconds", run},
          {"backlog_seconds", run * static_cast<double>(demand.pending)}};
}

void notice_idleness(Executor& executor, const proto::Now& now) {
  if (executor.tasks() > 0) executor.worked_ms = now.wall_ms();
  bool idle = executor.serves() && now.wall_ms() - executor.worked_ms >= kIdleMs;
  int64_t since_ms = idle ? executor.worked_ms : 0;
  if (since_ms == executor.idle_ms) return;
  executor.idle_ms = since_ms;
  executor.dirty = true;
}

void write_rows(State& state, bool refresh, const proto::Now& now) {
  Demands all = demands(state, now);
  for (const auto& [name, demand] : all.of) {
    proto::Map row = row_of(state, name, demand, all);
    std::string value = proto::encode_value(row);
    auto& written = state.demand_written[name];
    if (value == written && !(refresh && demand.sessions > 0)) continue;
    written = value;
    row.emplace_back("updated", now.wall_ms());
    state.ops.push_back(PutDemand{name, proto::encode_value(row)});
  }
}

}  // namespace

void write_demand(State& state, const proto::Now& now) {
  if (now.mono_us < state.demand_due_us || !state.health.writable) return;
  state.demand_due_us = now.mono_us + int64_t{proto::kDemandIntervalMs} * proto::kUsPerMs;
  bool refresh = now.mono_us >= state.demand_refresh_us;
  if (refresh) state.demand_refresh_us = now.mono_us + proto::kUsPerSecond;
  bool busy = std::any_of(state.sessions.begin(), state.sessions.end(), [](const auto& entry) {
    return entry.second->counters.unfinished() > 0;
  });
  // Where nobody has a task, ten thousand executors are looked at once a second.
  bool look = refresh || busy || state.demand_was_busy;
  state.demand_was_busy = busy;
  if (look) write_rows(state, refresh, now);
  for (auto& [id, executor] : state.executors) {
    if (look) notice_idleness(executor, now);
    if (!executor.dirty) continue;
    executor.dirty = false;
    state.ops.push_back(PutExecutor{id, proto::encode_value(row_of(state, executor))});
  }
}

}  // namespace flame::broker

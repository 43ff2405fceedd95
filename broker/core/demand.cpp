// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/demand.hpp"

#include "broker/core/executors.hpp"

namespace flame::broker {

namespace {

struct Demand {
  uint64_t pending = 0, running = 0, bound = 0, sessions = 0;
  int64_t served_us = 0;
  uint64_t finished = 0;
};

std::map<std::string, Demand> demands(const State& state) {
  std::map<std::string, Demand> all;
  for (const auto& [name, application] : state.applications) all[name];
  for (const auto& [uid, session] : state.sessions) {
    if (session->finished()) continue;
    Demand& demand = all[session->spec.application];
    demand.pending += session->counters.pending;
    demand.running += session->counters.running;
    demand.bound += session->slots_bound;
    demand.sessions++;
    demand.served_us += session->served_us;
    demand.finished += session->counters.succeed + session->counters.failed;
  }
  return all;
}

// Work, not length: pending times the mean run time of what these sessions finished.
double backlog_seconds(const Demand& demand) {
  if (demand.finished == 0) return 0;
  double each_us = static_cast<double>(demand.served_us) / static_cast<double>(demand.finished);
  return each_us * static_cast<double>(demand.pending) / 1e6;
}

}  // namespace

void write_demand(State& state, const proto::Now& now) {
  if (now.mono_us < state.demand_due_us || !state.health.writable) return;
  state.demand_due_us = now.mono_us + int64_t{proto::kDemandIntervalMs} * proto::kUsPerMs;
  bool refresh = now.mono_us >= state.demand_refresh_us;
  if (refresh) state.demand_refresh_us = now.mono_us + proto::kUsPerSecond;
  for (const auto& [name, demand] : demands(state)) {
    proto::Map row = {{"pending", demand.pending}, {"running", demand.running},
                      {"bound", demand.bound},     {"sessions", demand.sessions},
                      {"slots", state.slots},      {"backlog_seconds", backlog_seconds(demand)}};
    std::string value = proto::encode_value(row);
    auto& written = state.demand_written[name];
    if (value == written && !(refresh && demand.sessions > 0)) continue;
    written = value;
    row.emplace_back("updated", now.wall_ms());
    state.ops.push_back(PutDemand{name, proto::encode_value(row)});
  }
  for (auto& [id, executor] : state.executors) {
    if (!executor.dirty) continue;
    executor.dirty = false;
    state.ops.push_back(PutExecutor{id, proto::encode_value(row_of(state, executor))});
  }
}

}  // namespace flame::broker

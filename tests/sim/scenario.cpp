// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/sim/scenario.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace flame::sim {

namespace {

template <class T>
T pick(Rng& rng, std::initializer_list<T> of) {
  return *(of.begin() + rng.below(of.size()));
}

Weather draw_weather(Rng& rng) {
  Weather weather;
  weather.delay_us = pick<int64_t>(rng, {20, 50, 500, 5'000});
  weather.jitter_us = pick<int64_t>(rng, {0, 100, 1'000, 20'000});
  if (rng.chance(0.6)) return weather;
  weather.loss = pick(rng, {0.0, 0.0005, 0.005});
  weather.duplicate = pick(rng, {0.0, 0.001, 0.02});
  weather.overtake = pick(rng, {0.0, 0.001, 0.01});
  return weather;
}

std::vector<ExecutorPlan> draw_executors(Rng& rng) {
  std::vector<ExecutorPlan> plans;
  auto count = static_cast<uint64_t>(rng.between(1, 5));
  bool unhealthy = rng.chance(0.2);
  for (uint64_t i = 0; i < count; i++) {
    ExecutorPlan plan;
    plan.id = "executor-" + std::to_string(i);
    plan.slots = static_cast<uint64_t>(rng.between(1, 4));
    // The first serves everything, so that nothing waits for ever.
    if (i > 0 && rng.chance(0.2)) plan.application = "flmping";
    if (unhealthy) plan.start_failure = 0.1, plan.crash = 0.01;
    plans.push_back(plan);
  }
  return plans;
}

proto::SessionSpec draw_spec(Rng& rng) {
  proto::SessionSpec spec;
  spec.application = rng.chance(0.7) ? "echo" : "flmping";
  spec.min_instances = rng.chance(0.2) ? rng.below(3) : 0;
  if (rng.chance(0.3)) spec.max_instances = std::max(spec.min_instances, 1 + rng.below(4));
  if (rng.chance(0.15)) spec.durability = proto::Durability::kMemory;
  if (rng.chance(0.3)) spec.retention = "read";
  return spec;
}

// Submits are spread over the time in which things go wrong.
int64_t pause_us_max(const JobPlan& job, int64_t faults_end_us) {
  auto submits = static_cast<int64_t>(2 * job.tasks / (job.run_tasks_max + 1) + 1);
  return 6 * faults_end_us / 2 / submits;
}

JobPlan draw_job(Rng& rng, uint64_t number, uint64_t tasks, int64_t faults_end_us) {
  JobPlan job;
  job.session = "s" + std::to_string(number);
  job.spec = draw_spec(rng);
  job.tasks = tasks;
  job.run_tasks_max = pick<uint64_t>(rng, {1, 4, 32, 200});
  job.run_us_max = pick<int64_t>(rng, {0, 200, 5'000, 20'000});
  if (rng.chance(0.2)) job.failing = 0.1;
  if (rng.chance(0.1)) job.poison = 0.01;
  job.start_us = rng.between(0, faults_end_us / 2);
  job.pause_us_max = pause_us_max(job, faults_end_us);
  if (job.spec.retention == "read") job.reader = "reader";
  job.closes = rng.chance(0.4);
  job.closes_early = rng.chance(0.1);
  job.deletes = (job.closes || job.closes_early) && rng.chance(0.3);
  return job;
}

std::vector<std::vector<JobPlan>> draw_clients(Rng& rng, int64_t faults_end_us) {
  std::vector<std::vector<JobPlan>> clients(static_cast<size_t>(rng.between(1, 4)));
  auto sessions = static_cast<uint64_t>(rng.between(1, 6));
  auto tasks = static_cast<uint64_t>(rng.between(200, 2'000));
  for (uint64_t i = 0; i < sessions; i++) {
    JobPlan job = draw_job(rng, i, tasks / sessions, faults_end_us);
    auto owner = i % clients.size();
    clients[owner].push_back(job);
    if (rng.chance(0.7) || clients.size() == 1) continue;
    // A second client of the session: watches too, and perhaps submits.
    job.closes = job.closes_early = job.deletes = false;
    if (rng.chance(0.5)) job.tasks = 0;
    if (!job.reader.empty()) job.reader += "-2";
    clients[(owner + 1) % clients.size()].push_back(job);
  }
  return clients;
}

// min_instances come first: with no slot beyond them other sessions wait for ever, and that is
// right.
void leave_room(Scenario& scenario) {
  auto& slots = scenario.executors.front().slots;
  slots = std::max(slots, scenario.reserved() + 1);
}

}  // namespace

Scenario Scenario::draw(Rng& rng) {
  Scenario scenario;
  scenario.weather = draw_weather(rng);
  scenario.through_codec = rng.chance(0.1);
  scenario.faults_end_us = rng.between(2, 30) * proto::kUsPerSecond;
  scenario.redis_delay_us = pick<int64_t>(rng, {0, 100, 500, 5'000});
  scenario.redis_unsynced = pick<uint64_t>(rng, {1, 8, 64});
  scenario.executors = draw_executors(rng);
  scenario.clients = draw_clients(rng, scenario.faults_end_us);
  leave_room(scenario);
  if (rng.chance(0.1)) return scenario;  // fair weather
  for (size_t i = 0; i < static_cast<size_t>(Fault::kReplicaStops); i++) {
    if (!rng.chance(0.25)) continue;
    scenario.faults.emplace_back(static_cast<Fault>(i), rng.between(500, 8'000) * proto::kUsPerMs);
  }
  return scenario;
}

void Scenario::draw_levels(Rng rng) {
  levels = rng.chance(0.3);
  if (!levels) return;
  std::map<std::string, proto::Durability> drawn;  // clients of one session want the same
  for (auto& jobs : clients) {
    for (auto& job : jobs) {
      auto [level, fresh] = drawn.try_emplace(job.session, job.spec.durability);
      if (fresh && rng.chance(0.6)) {
        level->second =
            rng.chance(0.5) ? proto::Durability::kSynced : proto::Durability::kReplicated;
      }
      job.spec.durability = level->second;
    }
  }
  if (faults.empty()) return;  // fair weather
  if (rng.chance(0.5)) {
    faults.emplace_back(Fault::kReplicaStops, rng.between(500, 8'000) * proto::kUsPerMs);
  }
}

void Scenario::draw_cancels(Rng rng) {
  if (!rng.chance(0.3)) return;
  for (auto& jobs : clients) {
    for (auto& job : jobs) {
      if (rng.chance(0.4)) continue;
      job.cancels = pick(rng, {0.02, 0.2, 0.5});
      // Each holds a slot for seconds: a few of them, or the others would never come through.
      if (rng.chance(0.5)) job.lasting = 4.0 / static_cast<double>(job.tasks + 4);
    }
  }
}

void Scenario::draw_follows(Rng rng) {
  if (!rng.chance(0.3)) return;
  std::set<std::string> updated;
  for (auto& jobs : clients) {
    for (auto& job : jobs) {
      if (rng.chance(0.6)) job.follows = pick(rng, {0.05, 0.5});
      if (rng.chance(0.4) && updated.insert(job.session).second)
        job.updates = pick(rng, {0.05, 0.3});
    }
  }
}

// The first executor is left alone, so that nothing waits for ever.
void Scenario::draw_holds(Rng rng) {
  if (executors.size() < 2 || !rng.chance(0.3)) return;
  for (auto& executor : executors) executor.pod = rng.chance(0.5);
  for (auto& jobs : clients) {
    for (auto& job : jobs) {
      if (rng.chance(0.5)) job.holds = pick(rng, {0.02, 0.2, 0.5});
      job.executors = executors.size();
    }
  }
}

void Scenario::draw_progress(Rng rng) {
  if (!rng.chance(0.3)) return;
  for (auto& executor : executors) executor.tells = pick(rng, {0.01, 0.3});
  for (auto& jobs : clients) {
    for (auto& job : jobs) {
      if (job.lasting == 0 && rng.chance(0.5))
        job.lasting = 4.0 / static_cast<double>(job.tasks + 4);
    }
  }
}

void Scenario::draw_changes(Rng rng) {
  if (!rng.chance(0.3)) return;
  std::set<std::string> changed;
  for (auto& jobs : clients) {
    for (auto& job : jobs) {
      if (!rng.chance(0.6) || !changed.insert(job.spec.application).second) continue;
      job.changes = pick(rng, {0.05, 0.3});
      job.instances_least = reserved() + 1;
    }
  }
}

void Scenario::draw_long(Rng rng) {
  if (!rng.chance(0.004)) return;  // a million tasks take some seconds
  const std::string session = "s" + std::to_string(rng.below(clients.front().size()));
  bool first = true;
  for (auto& jobs : clients) {
    for (auto& job : jobs) {
      if (job.session != session) continue;
      job.spec.retention = "read";
      if (job.reader.empty()) job.reader = first ? "reader" : "reader-2";
      job.run_us_max = 10;
      job.lasting = job.poison = 0;
      job.failing /= 100;
      if (!std::exchange(first, false)) continue;
      job.run_tasks_max = proto::kRunTasksMax;
      job.tasks = proto::kSegmentTasks + rng.below(proto::kSegmentTasks / 8);
      job.pause_us_max = faults_end_us / 100;
    }
  }
}

void Scenario::draw_dead(Rng rng) {
  if (!rng.chance(0.15)) return;
  dead_application = "flmping";
  for (auto& jobs : clients) {
    for (auto& job : jobs) job.spec.application = "echo";
  }
  dead_client = clients.size();
  auto& jobs = clients.emplace_back();
  uint64_t slots = 0;
  for (const auto& executor : executors) slots += executor.slots;
  for (uint64_t i = 0; i < slots; i++) {
    JobPlan job;
    job.session = "dead-" + std::to_string(i);
    job.spec.application = dead_application;
    job.tasks = 1 + rng.below(3);
    jobs.push_back(job);
  }
}

void Scenario::draw_talk(Rng rng) {
  if (!rng.chance(0.3)) return;
  bool tells = rng.chance(0.7), writes = rng.chance(0.8);
  for (auto& executor : executors) {
    executor.tells_often = tells;
    if (tells && executor.tells == 0) executor.tells = pick(rng, {0.01, 0.3});
    if (writes) executor.writes = pick(rng, {0.02, 0.5});
  }
  for (auto& jobs : clients) {
    for (auto& job : jobs) {
      bool lasts = tells && job.lasting == 0 && rng.chance(0.5);
      if (lasts) job.lasting = 4.0 / static_cast<double>(job.tasks + 4);
      if (rng.chance(0.7)) job.reads = pick(rng, {0.02, 0.3});
      if (job.updates == 0 || !rng.chance(0.3)) continue;
      // More events than are kept: one with every submit.
      job.updates = 1;
      job.run_tasks_max = 1;
      job.pause_us_max = pause_us_max(job, faults_end_us);
    }
  }
}

uint64_t Scenario::reserved() const {
  uint64_t sum = 0;
  for (const auto& jobs : clients) {
    for (const auto& job : jobs) sum += job.spec.min_instances;
  }
  return sum;
}

bool Scenario::has(Fault fault) const {
  return std::any_of(faults.begin(), faults.end(),
                     [fault](const auto& f) { return f.first == fault; });
}

bool Scenario::is_fair() const {
  return faults.empty() && weather.loss == 0 && weather.duplicate == 0 && weather.overtake == 0;
}

std::string Scenario::text() const {
  std::string text = std::to_string(executors.size()) + " executors, " +
                     std::to_string(clients.size()) + " clients, " +
                     std::to_string(faults_end_us / proto::kUsPerSecond) + " s of faults:";
  for (const auto& [fault, mean_us] : faults) {
    text += " " + std::string(kFaultNames[static_cast<size_t>(fault)]) + " every " +
            std::to_string(mean_us / 1000) + " ms,";
  }
  if (weather.loss > 0) text += " loss " + std::to_string(weather.loss);
  if (weather.duplicate > 0) text += " duplicates " + std::to_string(weather.duplicate);
  if (weather.overtake > 0) text += " overtaking " + std::to_string(weather.overtake);
  return text;
}

}  // namespace flame::sim

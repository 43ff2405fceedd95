// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/supervisor_core.hpp"

#include <signal.h>

#include <algorithm>
#include <array>
#include <span>

#include "proto/limits.hpp"
#include "proto/text.hpp"

namespace flame::flmctl {

namespace {

/// Far more than there may be at a time.
constexpr uint64_t kScaledNames = 1000;
constexpr int64_t kBackoffFirstUs = 100 * proto::kUsPerMs;
constexpr int64_t kBackoffMostUs = 10 * proto::kUsPerSecond;
/// A process that was ready for so long did not die of how it was started.
constexpr int64_t kHealthyUs = 3 * proto::kUsPerSecond;

struct StopStep {
  int signal;
  int64_t patience_us;  ///< until the next step
};
constexpr int64_t kGraceUs = static_cast<int64_t>(proto::kStopGraceMs) * proto::kUsPerMs;
// A second SIGTERM stops an executor at once. Broker and Redis end with an fsync, which a slow disk
// draws out; killed before it they lose nothing acknowledged either, but the next start takes
// longer.
constexpr std::array kExecutorSteps = {StopStep{SIGTERM, kGraceUs},
                                       StopStep{SIGTERM, 2 * proto::kUsPerSecond},
                                       StopStep{SIGKILL, 10 * proto::kUsPerSecond}};
constexpr std::array kAutoscalerSteps = {StopStep{SIGTERM, kGraceUs},
                                         StopStep{SIGKILL, 10 * proto::kUsPerSecond}};
constexpr std::array kBrokerSteps = {StopStep{SIGTERM, 20 * proto::kUsPerSecond},
                                     StopStep{SIGKILL, 10 * proto::kUsPerSecond}};
constexpr std::array kRedisSteps = {StopStep{SIGTERM, 60 * proto::kUsPerSecond},
                                    StopStep{SIGKILL, 10 * proto::kUsPerSecond}};

std::span<const StopStep> steps_of(Role role) {
  switch (role) {
    case Role::kExecutor:
      return kExecutorSteps;
    case Role::kBroker:
      return kBrokerSteps;
    case Role::kAutoscaler:
      return kAutoscalerSteps;
    default:
      return kRedisSteps;
  }
}

std::string executor_name(uint64_t number) { return "executor-" + std::to_string(number); }
uint64_t executor_number(std::string_view name) {
  return proto::parse_number<uint64_t>(name.substr(name.find('-') + 1)).value_or(0);
}

// One of those that `up --executors` counts.
bool is_counted(const ManagedProcess& process) {
  return process.role == Role::kExecutor && !process.scaled();
}

}  // namespace

std::string_view name_of(ProcessState state) {
  switch (state) {
    case ProcessState::kWaiting:
      return "waiting";
    case ProcessState::kStarting:
      return "starting";
    case ProcessState::kRunning:
      return "running";
    case ProcessState::kBackoff:
      return "backoff";
    case ProcessState::kReplaced:
      return "replaced";
    case ProcessState::kLeft:
      return "left";
    case ProcessState::kStopping:
      return "stopping";
    default:
      return "stopped";
  }
}

SupervisorCore::SupervisorCore(bool own_redis, uint64_t executors, bool autoscaler)
    : own_redis_(own_redis), executors_(executors) {
  if (own_redis) add("redis", Role::kRedis);
  add("broker", Role::kBroker);
  if (autoscaler) add("autoscaler", Role::kAutoscaler);
  for (uint64_t i = 1; i <= executors; i++) add(executor_name(i), Role::kExecutor);
}

ManagedProcess* SupervisorCore::find(std::string_view name) {
  auto found = std::find_if(processes_.begin(), processes_.end(),
                            [&](const ManagedProcess& process) { return process.name == name; });
  return found == processes_.end() ? nullptr : &*found;
}

ManagedProcess& SupervisorCore::add(const std::string& name, Role role) {
  return processes_.emplace_back(ManagedProcess{
      .name = name, .role = role, .backoff = runtime::Backoff(kBackoffFirstUs, kBackoffMostUs)});
}

void SupervisorCore::adopt(const std::string& name, const std::string& application) {
  auto* process = find(name);
  bool is_executor = name.starts_with("executor-") || !application.empty();
  if (process == nullptr && !is_executor) return;
  if (process == nullptr) process = &add(name, Role::kExecutor);
  process->application = application;
  if (process->scaled()) last_scaled_ = std::max(last_scaled_, executor_number(name));
  process->state = ProcessState::kStarting;
}

void SupervisorCore::begin(proto::Now now, SupervisorActions& actions) {
  set_executors(executors_, now, actions);
}

void SupervisorCore::on_ready(std::string_view name, proto::Now now, SupervisorActions& actions) {
  auto* process = find(name);
  if (process == nullptr || process->state != ProcessState::kStarting) return;
  process->state = ProcessState::kRunning;
  process->ready_us = now.mono_us;
  process->was_ready = true;
  if (process->restarts > 0) actions.push_back(ReportReturn{process->name});
  advance(now, actions);
}

void SupervisorCore::on_exit(std::string_view name, const std::string& how, proto::Now now,
                             SupervisorActions& actions) {
  auto* process = find(name);
  if (process == nullptr || !process->alive()) return;
  process->last_exit = how;
  if (process->state == ProcessState::kStopping || process->may_leave || stopping_) {
    process->state = ProcessState::kStopped;
    bool surplus = process->scaled() ||
                   (process->role == Role::kExecutor && executor_number(name) > executors_);
    if (surplus) processes_.erase(processes_.begin() + (process - processes_.data()));
  } else {
    bool healthy =
        process->state == ProcessState::kRunning && now.mono_us - process->ready_us >= kHealthyUs;
    if (healthy) process->backoff.reset();
    int64_t wait_us = process->backoff.next_us();
    process->state = ProcessState::kBackoff;
    process->act_at_us = now.mono_us + wait_us;
    actions.push_back(ReportDeath{process->name, how, wait_us});
  }
  advance(now, actions);
}

void SupervisorCore::on_replaced(std::string_view name, const std::string& text, proto::Now now,
                                 SupervisorActions& actions) {
  auto* process = find(name);
  if (process == nullptr || !process->alive()) return;
  if (process->state == ProcessState::kStopping || stopping_)
    return on_exit(name, text, now, actions);
  process->last_exit = text;
  process->state = ProcessState::kReplaced;
  actions.push_back(ReportEnd{process->name, text});
  advance(now, actions);
}

void SupervisorCore::on_left(std::string_view name, const std::string& how, proto::Now now,
                             SupervisorActions& actions) {
  auto* process = find(name);
  if (process == nullptr || !process->alive()) return;
  bool asked = process->state == ProcessState::kStopping || process->may_leave || stopping_;
  if (asked || process->role != Role::kExecutor) return on_exit(name, how, now, actions);
  if (process->scaled()) {
    processes_.erase(processes_.begin() + (process - processes_.data()));
    return advance(now, actions);
  }
  process->last_exit = how;
  process->state = ProcessState::kLeft;
  actions.push_back(
      ReportEnd{process->name, how + ": it was drained and stays away; flmctl up starts it again"});
  advance(now, actions);
}

void SupervisorCore::on_time(proto::Now now, SupervisorActions& actions) { advance(now, actions); }

void SupervisorCore::set_executors(uint64_t count, proto::Now now, SupervisorActions& actions) {
  executors_ = count;
  std::erase_if(processes_, [&](const ManagedProcess& process) {
    return is_counted(process) && executor_number(process.name) > count && !process.alive();
  });
  for (auto& process : processes_) {
    if (!is_counted(process) || executor_number(process.name) <= count) continue;
    if (process.state != ProcessState::kStopping) tell_to_stop(process, now, actions);
  }
  for (uint64_t i = 1; i <= count; i++) {
    if (find(executor_name(i)) == nullptr) add(executor_name(i), Role::kExecutor);
  }
  advance(now, actions);
}

void SupervisorCore::add_scaled(const std::string& application, uint64_t count, proto::Now now,
                                SupervisorActions& actions) {
  while (count > 0) {
    last_scaled_ = last_scaled_ % kScaledNames + 1;
    std::string name = "scaled-" + std::to_string(last_scaled_);
    if (find(name) != nullptr) continue;
    add(name, Role::kExecutor).application = application;
    count--;
  }
  advance(now, actions);
}

void SupervisorCore::leave_scaled(const std::vector<std::string>& names, proto::Now now,
                                  SupervisorActions& actions) {
  for (const auto& name : names) {
    auto* process = find(name);
    if (process == nullptr || !process->scaled()) continue;
    if (process->state == ProcessState::kRunning) {
      process->may_leave = true;
      actions.push_back(SignalProcess{name, SIGUSR1});
    } else if (process->state == ProcessState::kStarting) {
      tell_to_stop(*process, now, actions);
    } else if (!process->alive()) {
      processes_.erase(processes_.begin() + (process - processes_.data()));
    }
  }
}

void SupervisorCore::retry_now(proto::Now now, SupervisorActions& actions) {
  for (auto& process : processes_) {
    bool waits = process.state == ProcessState::kBackoff ||
                 process.state == ProcessState::kReplaced || process.state == ProcessState::kLeft;
    if (!waits) continue;
    process.state = ProcessState::kBackoff;
    process.act_at_us = now.mono_us;
    process.backoff.reset();
  }
  advance(now, actions);
}

void SupervisorCore::stop(proto::Now now, SupervisorActions& actions) {
  bool again = stopping_;
  stopping_ = true;
  for (auto& process : processes_) {
    if (!process.alive()) process.state = ProcessState::kStopped;
    bool hurry =
        again && process.role == Role::kExecutor && process.state == ProcessState::kStopping;
    if (hurry && process.stop_step == 1) process.act_at_us = now.mono_us;
  }
  advance(now, actions);
}

bool SupervisorCore::any_alive(Role role) const {
  return std::any_of(processes_.begin(), processes_.end(), [&](const ManagedProcess& process) {
    return process.role == role && process.alive();
  });
}

bool SupervisorCore::may_start(const ManagedProcess& process) const {
  if (process.role == Role::kRedis || process.was_ready) return true;
  Role needed = process.role == Role::kBroker ? Role::kRedis : Role::kBroker;
  if (needed == Role::kRedis && !own_redis_) return true;
  return std::any_of(processes_.begin(), processes_.end(), [&](const ManagedProcess& other) {
    return other.role == needed && other.was_ready;
  });
}

void SupervisorCore::tell_to_stop(ManagedProcess& process, proto::Now now,
                                  SupervisorActions& actions) {
  auto steps = steps_of(process.role);
  bool first = process.state != ProcessState::kStopping;
  process.stop_step = first ? 0 : std::min(process.stop_step, static_cast<int>(steps.size()) - 1);
  const auto& step = steps[static_cast<size_t>(process.stop_step)];
  process.state = ProcessState::kStopping;
  process.act_at_us = now.mono_us + step.patience_us;
  process.stop_step++;
  actions.push_back(SignalProcess{process.name, step.signal});
}

void SupervisorCore::advance(proto::Now now, SupervisorActions& actions) {
  for (auto& process : processes_) {
    bool due = process.act_at_us <= now.mono_us;
    if (process.state == ProcessState::kStopping) {
      if (due) tell_to_stop(process, now, actions);
    } else if (stopping_) {
      bool turn = process.role == Role::kExecutor || process.role == Role::kAutoscaler ||
                  (!any_alive(Role::kExecutor) &&
                   (process.role == Role::kBroker || !any_alive(Role::kBroker)));
      if (process.alive() && turn) tell_to_stop(process, now, actions);
    } else if ((process.state == ProcessState::kBackoff && due) ||
               ((process.state == ProcessState::kWaiting ||
                 process.state == ProcessState::kStopped) &&
                may_start(process))) {
      if (process.state == ProcessState::kBackoff) process.restarts++;
      process.state = ProcessState::kStarting;
      actions.push_back(StartProcess{process.name});
    }
  }
}

int64_t SupervisorCore::next_deadline_us() const {
  int64_t next = INT64_MAX;
  for (const auto& process : processes_) {
    if (process.state == ProcessState::kBackoff || process.state == ProcessState::kStopping) {
      next = std::min(next, process.act_at_us);
    }
  }
  return next;
}

bool SupervisorCore::all_ready() const { return !stopping_ && not_ready().empty(); }

bool SupervisorCore::replaced() const {
  return std::any_of(processes_.begin(), processes_.end(), [](const ManagedProcess& process) {
    return process.state == ProcessState::kReplaced;
  });
}

bool SupervisorCore::all_stopped() const {
  return stopping_ && std::none_of(processes_.begin(), processes_.end(),
                                   [](const ManagedProcess& process) { return process.alive(); });
}

std::vector<std::string> SupervisorCore::not_ready() const {
  std::vector<std::string> names;
  for (const auto& process : processes_) {
    bool fine = process.state == ProcessState::kRunning || process.state == ProcessState::kLeft;
    if (!fine && !process.scaled()) names.push_back(process.name);
  }
  return names;
}

}  // namespace flame::flmctl

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What to start, stop and start again, and when: pure. The supervisor tells it what it sees and
// does what comes back; a test plays an hour of crashes in a microsecond.
//
// Started: redis, then the broker when Redis has loaded, then the executors when the broker serves.
// Stopped in the opposite order, each only when the one before has gone, so that nothing is written
// to what is already away.

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "proto/time.hpp"
#include "runtime/backoff.hpp"

namespace flame::flmctl {

enum class Role : uint8_t { kRedis, kBroker, kExecutor, kAutoscaler };

enum class ProcessState : uint8_t {
  kWaiting,   ///< for what it needs; left by Start
  kStarting,  ///< runs, not yet ready
  kRunning,   ///< ready
  kBackoff,   ///< died; left by Start when the wait is over
  kReplaced,  ///< a broker whose Redis another one took: left by retry_now() alone
  kLeft,      ///< an executor that was drained and ended well: left by retry_now() alone
  kStopping,  ///< was told to stop
  kStopped,   ///< did
};
std::string_view name_of(ProcessState state);

struct ManagedProcess {
  std::string name;
  Role role;
  ProcessState state = ProcessState::kWaiting;
  std::string application;  ///< of a scaled executor: it serves only this one
  bool may_leave = false;   ///< a scaled executor was asked to leave if idle: its end is no death
  bool was_ready = false;   ///< ever: what depends on it may start even while it is away
  int64_t ready_us = 0;     ///< of this start
  int64_t act_at_us = 0;    ///< kBackoff: next start; kStopping: next, harder signal
  int stop_step = 0;
  uint64_t restarts = 0;
  std::string last_exit;
  runtime::Backoff backoff;

  bool alive() const {
    return state == ProcessState::kStarting || state == ProcessState::kRunning ||
           state == ProcessState::kStopping;
  }
  /// Started for the autoscaler, which decides how many there are.
  bool scaled() const { return !application.empty(); }
};

struct StartProcess {
  std::string name;
  friend bool operator==(const StartProcess&, const StartProcess&) = default;
};
struct SignalProcess {
  std::string name;
  int signal;
  friend bool operator==(const SignalProcess&, const SignalProcess&) = default;
};
/// To be told to the person: it died by itself and starts again after `wait_us`.
struct ReportDeath {
  std::string name;
  std::string how;
  int64_t wait_us;
  friend bool operator==(const ReportDeath&, const ReportDeath&) = default;
};
/// To be told: it ended for a reason that another start would not end, and is not started again.
struct ReportEnd {
  std::string name;
  std::string text;
  friend bool operator==(const ReportEnd&, const ReportEnd&) = default;
};
/// To be told: it is ready after a restart.
struct ReportReturn {
  std::string name;
  friend bool operator==(const ReportReturn&, const ReportReturn&) = default;
};
using SupervisorAction =
    std::variant<StartProcess, SignalProcess, ReportDeath, ReportEnd, ReportReturn>;
using SupervisorActions = std::vector<SupervisorAction>;

class SupervisorCore {
 public:
  /// Without a Redis of its own the broker starts at once and waits for the other one itself.
  SupervisorCore(bool own_redis, uint64_t executors, bool autoscaler = false);

  /// Before begin(): the process runs already, left by a supervisor that was killed. Executors
  /// beyond the wanted number are drained by begin().
  void adopt(const std::string& name, const std::string& application = "");
  void begin(proto::Now now, SupervisorActions& actions);

  void on_ready(std::string_view name, proto::Now now, SupervisorActions& actions);
  /// It ended, or (never started) could not be started. `how` is shown.
  void on_exit(std::string_view name, const std::string& how, proto::Now now,
               SupervisorActions& actions);
  /// It ended since another broker has its Redis. Started again it would take it back, and the
  /// other's supervisor might do the same, for ever: so that is left to a person.
  void on_replaced(std::string_view name, const std::string& text, proto::Now now,
                   SupervisorActions& actions);
  /// An executor ended well without having been asked by us: it was drained through the broker.
  void on_left(std::string_view name, const std::string& how, proto::Now now,
               SupervisorActions& actions);
  void on_time(proto::Now now, SupervisorActions& actions);

  void set_executors(uint64_t count, proto::Now now, SupervisorActions& actions);
  /// More executors for one application, named scaled-1 and so on. A number comes again only after
  /// a thousand others: nobody may take a new one for one that just left, and the logs are bounded.
  void add_scaled(const std::string& application, uint64_t count, proto::Now now,
                  SupervisorActions& actions);
  /// Scaled ones, by name. Who serves is asked to leave if it is idle and stays if it is not; one
  /// that never got so far is stopped.
  void leave_scaled(const std::vector<std::string>& names, proto::Now now,
                    SupervisorActions& actions);
  /// Ends every back-off, and starts a broker that was replaced and executors that were drained:
  /// somebody asked for the cluster just now.
  void retry_now(proto::Now now, SupervisorActions& actions);
  /// In order; called again it stops the executors at once.
  void stop(proto::Now now, SupervisorActions& actions);

  /// When on_time() has something to do, or INT64_MAX.
  int64_t next_deadline_us() const;
  bool all_ready() const;
  bool replaced() const;
  bool stopping() const { return stopping_; }
  bool all_stopped() const;
  const std::vector<ManagedProcess>& processes() const { return processes_; }
  /// Those that are not ready and should be. Scaled executors come and go: not these.
  std::vector<std::string> not_ready() const;

 private:
  ManagedProcess* find(std::string_view name);
  ManagedProcess& add(const std::string& name, Role role);
  bool may_start(const ManagedProcess& process) const;
  void advance(proto::Now now, SupervisorActions& actions);
  void tell_to_stop(ManagedProcess& process, proto::Now now, SupervisorActions& actions);
  bool any_alive(Role role) const;

  std::vector<ManagedProcess> processes_;  ///< in the order of starting
  bool own_redis_;
  uint64_t executors_;
  uint64_t last_scaled_ = 0;  ///< number of the last one
  bool stopping_ = false;
};

}  // namespace flame::flmctl

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The process behind `flmctl up`: starts Redis, broker and executors of one data folder, watches
// them, answers on control.sock. It decides nothing (supervisor_core does) and holds nothing that
// cannot be found again: killed, it leaves a running cluster that the next `up` adopts.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/flmctl/cluster_folder.hpp"
#include "client/flmctl/supervisor_control.hpp"
#include "client/flmctl/supervisor_core.hpp"
#include "client/flmctl/supervisor_probe.hpp"
#include "client/flmctl/supervisor_process.hpp"
#include "runtime/event_loop.hpp"
#include "runtime/signals.hpp"

namespace flame::flmctl {

struct SupervisorPlan {
  UpSettings settings;
  std::string redis_url;  ///< what the broker gets, password included
  std::string programs;   ///< folder of flame-broker and flame-executor
  ClusterStatus before;   ///< what cluster.json said; its living processes are adopted
  int lock_fd = -1;       ///< held until everything has stopped
  bool only_stop = false;
};

class Supervisor {
 public:
  /// `tell` gets what a person should read, possibly several lines.
  Supervisor(const ClusterFolder& folder, SupervisorPlan plan,
             std::function<void(const std::string&)> tell);

  proto::Status listen() { return control_.listen(folder_.control_socket()); }
  /// Calls back once: with ok when everything is ready, with failed when the time is over.
  void when_ready(std::function<void(const ControlReply&)> answer);
  /// Until everything has stopped.
  void run();

 private:
  struct Child {
    std::unique_ptr<SupervisedProcess> process;
    ProcessStatus facts;
    uint64_t log_offset = 0;  ///< where this start began to write
  };
  struct Waiter {
    int64_t deadline_us;
    std::function<void(const ControlReply&)> answer;
  };

  void adopt_living();
  void on_signal();
  void on_request(const ControlRequest& request, ControlServer::Answer answer);
  ControlReply scale(const ControlRequest& request);
  void on_tick();
  void on_exit(const std::string& name, const std::string& how);

  /// Calls the core, does what it says, then brings file, timer and waiters in line. Every event
  /// ends here.
  void step(const std::function<void(SupervisorActions&)>& event);
  void perform(const SupervisorAction& action);
  void start(const std::string& name);
  LaunchPlan launch_plan(const std::string& name) const;
  std::vector<std::string> autoscaler_command() const;
  std::vector<std::string> executor_command(const std::string& name) const;
  proto::Status prepare(const std::string& name) const;
  void report_death(const ReportDeath& death);
  std::string why_replaced(const std::string& name, int pid, const std::string& how) const;

  void probe_starting();
  void probe_redis();
  void probe_broker();
  void probe_executors();
  void ask(Role role, const std::string& address, const std::string& request,
           std::function<void(const std::string&)> answered);

  void save();
  void arm();
  void bound_logs();
  void answer_waiters();
  void finish();
  ControlReply reply(const std::string& result, const std::string& message) const;
  ClusterStatus status() const;
  std::vector<std::string> log_lines(const std::string& name, size_t lines_max) const;

  const ClusterFolder& folder_;
  SupervisorPlan plan_;
  std::function<void(const std::string&)> tell_;
  runtime::EventLoop loop_;
  runtime::Signals signals_;
  ControlServer control_;
  SupervisorCore core_;
  std::map<std::string, Child> children_;
  std::map<Role, std::unique_ptr<Probe>> probes_;
  std::vector<Waiter> waiters_;
  std::vector<std::function<void(const ControlReply&)>> stop_waiters_;
  runtime::EventLoop::TimerId timer_ = 0;
  int64_t look_at_logs_us_ = 0;
  int64_t loading_us_ = 0;  ///< when Redis last said that it still loads
  std::string saved_, ring_;
  std::string waits_for_recover_;  ///< what the broker says that a person has to decide
  bool finished_ = false;
};

}  // namespace flame::flmctl

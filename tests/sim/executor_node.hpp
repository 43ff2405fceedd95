// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// An executor machine: the real executor core, with services that are a few lines of arithmetic. It
// may crash, be drained, stand still, and start again as another process under the same id.

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "executor/core/core.hpp"
#include "executor/logs.hpp"
#include "tests/sim/broker_node.hpp"
#include "tests/sim/checker.hpp"
#include "tests/sim/task.hpp"

namespace flame::sim {

struct ExecutorPlan {
  std::string id;
  uint64_t slots = 1;
  std::string application;   ///< serves only this one; "" for all
  bool pod = false;          ///< a drain does not end it, and outlives its process
  double start_failure = 0;  ///< a service does not start, or refuses the session
  double crash = 0;          ///< a service dies at a task
  double tells = 0;          ///< a task says how far it is
  bool tells_often = false;  ///< several times
  double writes = 0;         ///< a task, or a service between tasks, writes a line
};

class ExecutorNode : public Dialer {
 public:
  ExecutorNode(Cluster cluster, Checker& checker, ExecutorPlan plan);

  /// Services of this application do not start from now on; "": all do.
  void cannot_start(const std::string& application) { dead_application_ = application; }
  void start();
  void crash();
  void drain();
  void pause(int64_t us);
  bool alive() const { return core_ != nullptr; }
  Wire& wire() { return *wire_; }
  /// From now on services are healthy, but for tasks that kill them.
  void calm() { plan_.start_failure = plan_.crash = 0; }
  uint64_t executed() const { return executed_; }

  void receive(const proto::Envelope& envelope, const proto::Message& message) override;

 private:
  struct Service {
    std::deque<shims::Frame> frames;
    Serials with;
    proto::SessionUid uid = 0;
    bool working = false, ends = false;
    shims::OutputLog log;
  };

  void feed(executor::Event event);
  void turn_at(int64_t us);
  void turn();
  void perform(executor::Action& action);
  void yield(executor::InstanceId instance, shims::Event event, int64_t after_us);
  void enter(executor::InstanceId instance);
  void work(executor::InstanceId instance);
  void exit(executor::InstanceId instance, const std::string& reason, int64_t after_us);
  void fail(executor::InstanceId instance, const std::string& reason);
  void forget(executor::InstanceId instance, const std::string& reason);
  void tell(executor::InstanceId instance, proto::TaskId id, const Task& task, int64_t begins_us);
  void write(executor::InstanceId instance, Service& service, proto::TaskId id);
  void read_logs(const executor::ReadLogs& question);
  InstanceName name_of(executor::InstanceId instance) const { return {plan_.id, life_, instance}; }

  Cluster cluster_;
  Checker& checker_;
  ExecutorPlan plan_;
  Wire* wire_;
  std::unique_ptr<executor::Core> core_;
  std::unique_ptr<executor::Logs> logs_;
  uint64_t life_ = 0;
  std::deque<executor::Event> inbox_;
  executor::Actions actions_;
  std::map<executor::InstanceId, Service> services_;
  bool refused_ = false;
  int64_t paused_until_us_ = 0;
  int64_t next_turn_us_ = INT64_MAX;
  uint64_t turn_number_ = 0;
  uint64_t executed_ = 0;
  std::string dead_application_;
};

}  // namespace flame::sim

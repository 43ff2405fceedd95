// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A program that uses the real client core: it creates sessions, submits, watches, closes and
// deletes; it may die and come back, with the cursor it had written down.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/cpp/src/core/client_core.hpp"
#include "tests/sim/broker_node.hpp"
#include "tests/sim/checker.hpp"

namespace flame::sim {

/// What a client does with one session.
struct JobPlan {
  std::string session;
  proto::SessionSpec spec;
  uint64_t tasks = 0;
  uint64_t run_tasks_max = 16;
  int64_t run_us_max = 5'000;
  double failing = 0, poison = 0;
  int64_t start_us = 0;
  int64_t pause_us_max = 20'000;
  bool watches = true;
  std::string reader;
  bool closes = false;        ///< when its own tasks are submitted
  bool closes_early = false;  ///< when half of them are
  bool deletes = false;       ///< after it closed
  double cancels = 0;         ///< chance of a cancel each time it looks at the session
  double lasting = 0;         ///< part of its tasks that run for many seconds
  double updates = 0;  ///< it replaces the common data now and again; one client of a session does
  double follows = 0;  ///< it asks for the end of single tasks
  double changes = 0;  ///< it changes the session's application; one job of an application does
  uint64_t instances_least = 0;  ///< of its application, so that nothing waits for ever
  /// It cordons, frees and drains executors, all but the first.
  double holds = 0;
  uint64_t executors = 0;
  double reads = 0;  ///< it asks for logs, and for the session's events
};

class ClientNode : public Dialer {
 public:
  ClientNode(Cluster cluster, Checker& checker, std::string name, std::vector<JobPlan> plans);

  void start();
  void crash(bool new_id);
  bool alive() const { return core_ != nullptr; }
  Wire& wire() { return *wire_; }
  /// Nothing of its plan is left to do.
  bool done() const;
  std::string unfinished() const;
  /// flmctl recover --accept-loss
  void recover();

  void receive(const proto::Envelope& envelope, const proto::Message& message) override;

 private:
  enum class Step : uint8_t { kIdle, kCreating, kOpen, kGone };
  struct Job {
    JobPlan plan;
    Step step = Step::kIdle;
    proto::SessionUid uid = 0;
    uint64_t submitted = 0;
    proto::TaskId last = 0;  ///< the highest that was acknowledged
    bool refused = false;    ///< the session takes no more
    int64_t next_submit_us = 0;
    std::map<client::Ticket, std::vector<uint64_t>> tickets;
    uint64_t next = 0;      ///< index expected next
    uint64_t consumed = 0;  ///< written down: outlives the process
    bool watching = false;
    bool cancelling = false;                ///< asked, not answered
    std::optional<uint64_t> questioned;     ///< entries delivered when it asked for tasks
    std::optional<Talk::Question> reading;  ///< asked for logs
    int64_t reading_us = 0;                 ///< ... then
    std::optional<Facts> viewing;           ///< asked for events, and what was known
    bool updating = false;                  ///< asked, not answered
    uint64_t common_version = 0;            ///< as it was told last; 0: not known
    uint64_t serial = 0;                    ///< of its last update; tasks that follow ask for
    uint64_t serial_known = 0;              ///< ... the last one that was answered
    proto::TaskId following = 0;            ///< a task that it wants to see finished
    bool changing = false;                  ///< asked, not answered
    uint64_t changed = 0;                   ///< serial of its last change of the application
    int64_t next_change_us = 0;
    enum class End : uint8_t { kNot, kClosing, kWaiting, kClosed, kDeleting } end = End::kNot;
    bool finished_submits() const { return refused || submitted >= plan.tasks; }
    bool done() const;
  };
  bool has_all_entries(const Job& job) const;
  enum class Ask : uint8_t {
    kCreate,
    kClose,
    kWait,
    kDelete,
    kCancel,
    kTasks,
    kLook,
    kUpdate,
    kCommon,
    kFollow,
    kHold,
    kChange,
    kLogs,
    kView
  };

  void feed(client::Event event);
  void perform(client::Action& action);
  void perform(client::Answer& answer);
  void tick_at(int64_t us);
  void pump(size_t index);
  void pump_later(size_t index, int64_t us);
  void submit(size_t index);
  void cancel(size_t index);
  void question(size_t index);
  void update(size_t index);
  void follow(size_t index, const std::string& known);
  void read_logs(size_t index);
  void view(size_t index);
  void read(Job& job, const client::Answer& answer, Ask what);
  void hold(size_t index);
  void change(size_t index);
  void changed(Job& job, const client::Answer& answer);
  void followed(size_t index, const client::Answer& answer);
  void updated(Job& job, const client::Answer& answer, Ask what);
  void end(size_t index);
  void create(size_t index);
  void opened(size_t index, const proto::SessionInfo& info);
  void gone(Job& job);
  void watch(Job& job);
  void ask(size_t index, Ask what, proto::Message message);
  void deliver(const proto::Results& results);
  /// What one life of it hears.
  std::string watcher() const { return name_ + "/" + std::to_string(life_); }
  Job* job_of(proto::SessionUid uid);

  Cluster cluster_;
  Checker& checker_;
  std::string name_;
  Wire* wire_;
  std::vector<Job> jobs_;
  std::unique_ptr<client::ClientCore> core_;
  std::string id_;
  uint64_t life_ = 0;
  client::Actions actions_;
  bool performing_ = false;
  bool serving_ = true;  ///< as the last welcome said
  std::map<client::Ticket, std::pair<size_t, Ask>> asked_;
  client::Ticket next_ticket_ = 1;
  int64_t next_tick_us_ = INT64_MAX;
  uint64_t tick_number_ = 0;
};

}  // namespace flame::sim

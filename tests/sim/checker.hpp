// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What clients were promised against what they got and what Redis holds. In Jepsen's words a task
// is
//   attempted     handed to the client library
//   acknowledged  its ids came back: it must get exactly one result
//   unknown       attempted, and its client died before an answer: one result or none
// and lost, if it was acknowledged and has no result once faults have ended and everybody had time.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/store/memory_redis.hpp"
#include "proto/messages.hpp"
#include "tests/sim/event_list.hpp"
#include "tests/sim/talk.hpp"
#include "tests/sim/task.hpp"
#include "tests/sim/world.hpp"

namespace flame::sim {

class Checker {
 public:
  explicit Checker(World& world) : world_(world) {}

  /// A number for a task of this session.
  uint64_t attempt(proto::SessionUid uid);
  void acknowledged(proto::SessionUid uid, const proto::Run& run,
                    const std::vector<uint64_t>& numbers);
  void delivered(const std::string& watcher, const proto::Results& results);
  /// An answer about single tasks, asked for when the first `seen` entries had been delivered.
  void listed(const std::string& watcher, proto::SessionUid uid, const proto::Tasks& tasks,
              uint64_t seen);

  // ---- what services say
  /// A service begins with this task.
  void begins(uint64_t number, const std::string& executor);
  /// How far it is: number and text of the report.
  std::pair<uint64_t, std::string> says(const Task& task, Talk::Report report);
  /// It said the last one a while ago, and is at that task still.
  void said_for_long(uint64_t report);
  /// To a watcher, when the first `seen` entries had been delivered.
  void told(const std::string& watcher, const proto::Progress& progress, uint64_t seen);
  void watches(const std::string& watcher, proto::SessionUid uid);
  void watches_no_more(const std::string& watcher);
  /// A service of this session ended, or did not enter it.
  void service_failed(proto::SessionUid uid, const std::string& reason);
  void executor_ended(const std::string& executor) { ended_us_[executor] = world_.now_us(); }
  void read_logs(const Talk::Question& question, const proto::Logs& logs, int64_t asked_us);
  Talk& talk() { return talk_; }

  // ---- events
  /// A client was told so.
  void happened(proto::SessionUid uid, const std::string& code, const std::string& text);
  Facts facts(proto::SessionUid uid) const;
  /// A row about the session that a client asked for when `known` had happened.
  void viewed(proto::SessionUid uid, const proto::Value& row, const Facts& known);
  void broker_restarted() { broker_restarted_ = true; }

  /// From now on nothing is in the way of anybody: what is said arrives.
  void settle() { settled_us_ = world_.now_us(); }

  void session(proto::SessionUid uid, const std::string& name, const proto::SessionSpec& spec);
  /// An update of the application was answered; what is submitted from now on runs with it.
  void changed(const std::string& application, uint64_t serial) { serials_[application] = serial; }
  uint64_t serial_of(const std::string& application) const;
  /// Its tasks need no result any more.
  void deleted(proto::SessionUid uid);
  /// Somebody closes it, or cancels tasks of it.
  void may_cancel(proto::SessionUid uid) { logs_[uid].may_cancel = true; }
  /// Brokers end: what was acknowledged as `memory` goes with them.
  void expect_memory_loss() { memory_lost_ = true; }
  /// Of what is acknowledged as this level, some may be gone at the end.
  void expect_loss_of(proto::Durability level) { may_lose_.insert(level); }
  /// Redis lost what it had confirmed, and an operator accepted that.
  void store_lost();
  /// A client was told that these are gone.
  void told_lost(proto::SessionUid uid, const proto::Run& run);

  /// True where losses are expected, so that indexes and ids may be given again.
  bool forgives(proto::SessionUid uid) const;
  /// All that was acknowledged has a result.
  bool complete(proto::SessionUid uid) const;
  bool complete() const;
  /// After the last entry that anybody saw.
  uint64_t entries_end(proto::SessionUid uid) const;
  std::string unfinished() const;
  /// Nothing in the store waits for its delivery: results of tasks that are `unknown` may still
  /// come when all others have, and wait for the next fsync then.
  bool has_seen_all(const broker::MemoryKeys& keys) const;
  /// At the end: the store against what was delivered.
  void compare(const broker::MemoryKeys& keys);

  uint64_t attempts() const { return tasks_.size(); }
  uint64_t acknowledgements() const { return acknowledgements_; }
  uint64_t results() const { return results_; }

 private:
  struct TaskLog {
    proto::SessionUid uid = 0;
    proto::TaskId id = 0;  ///< by acknowledgement or result; 0: not known
    bool acknowledged = false;
    bool told_lost = false;
    uint32_t executors = 0;  ///< a bit for each that has begun with it
  };
  struct Entry {
    proto::Run run;
    uint64_t digest = 0;
    proto::Attempt attempt = 0;
  };
  struct SessionLog {
    std::string name;
    proto::SessionSpec spec;
    bool is_deleted = false, may_cancel = false, relaxed = false;
    std::map<proto::TaskId, uint64_t> number_of;  ///< of acknowledged or traced ids
    std::map<proto::TaskId, uint64_t> entry_of;   ///< index of its result
    std::map<uint64_t, Entry> entries;
    uint64_t waiting = 0;                     ///< acknowledged without a result
    std::map<std::string, int64_t> watchers;  ///< since when
    std::set<std::string> service_failures;
    std::set<proto::TaskId> given_up;  ///< after the last attempt
    EventList events;
    Facts facts;
  };

  void fail(const SessionLog& log, const std::string& what) {
    world_.fail("session " + log.name + ": " + what);
  }
  bool check_outcomes(SessionLog& log, const proto::Results& results);
  bool check_report(SessionLog& log, const std::string& watcher, proto::SessionUid uid,
                    const proto::ProgressReport& report);
  void check_times(SessionLog& log, const proto::Value& row);
  bool is_settled(int64_t since_us) const { return settled_us_ && *settled_us_ <= since_us; }
  bool is_of(SessionLog& log, proto::SessionUid uid, proto::TaskId id, const Task& task);
  void trace(SessionLog& log, proto::SessionUid uid, proto::TaskId id, const Ran& ran);
  void compare(SessionLog& log, const broker::MemoryKeys& keys, const broker::Recovered& recovered);
  void compare_events(SessionLog& log, const broker::MemoryKeys& keys, uint64_t cancelled);
  std::string invented(const SessionLog& log, const EventList::Event& event) const;
  void compare_applications(const broker::Recovered& recovered);
  void compare_start(const broker::Recovered& recovered);

  World& world_;
  std::vector<TaskLog> tasks_;
  std::map<proto::SessionUid, SessionLog> logs_;
  std::map<std::string, uint64_t> serials_;  ///< of applications
  std::map<std::string, uint32_t> executor_bits_;
  std::map<std::string, int64_t> ended_us_;  ///< of executors' processes: when the last one did
  Talk talk_;
  uint64_t acknowledgements_ = 0, results_ = 0;
  std::set<proto::Durability> may_lose_ = {proto::Durability::kMemory, proto::Durability::kStored};
  bool store_lost_ = false, memory_lost_ = false, broker_restarted_ = false;
  std::optional<int64_t> settled_us_;
};

}  // namespace flame::sim

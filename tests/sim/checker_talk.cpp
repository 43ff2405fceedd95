// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// What services said of themselves and what happened to sessions, against what clients hear of it.

#include <algorithm>
#include <array>

#include "broker/store/memory_read.hpp"
#include "proto/run.hpp"
#include "proto/text.hpp"
#include "tests/sim/checker.hpp"

namespace flame::sim {

namespace {

constexpr int64_t kLogAnswerUs = int64_t{proto::kLogWaitMs} * proto::kUsPerMs + proto::kUsPerSecond;
constexpr int64_t kLeaseUs = int64_t{proto::kLeaseMs} * proto::kUsPerMs;

// `text` is "RUN: reason".
std::optional<std::pair<proto::Run, std::string>> run_and_reason(const std::string& text) {
  auto colon = text.find(": ");
  if (colon == text.npos) return std::nullopt;
  auto run = proto::parse_run(text.substr(0, colon));
  if (!run) return std::nullopt;
  return std::pair{*run, text.substr(colon + 2)};
}

}  // namespace

// ---- progress and logs
// -------------------------------------------------------------------------------------------------

void Checker::begins(uint64_t number, const std::string& executor) {
  auto bit = executor_bits_.try_emplace(executor, executor_bits_.size()).first->second;
  if (number < tasks_.size()) tasks_[number].executors |= 1u << bit;
}

std::pair<uint64_t, std::string> Checker::says(const Task& task, Talk::Report report) {
  report.at_us = world_.now_us();
  uint64_t number = talk_.says(report);
  return {number, std::to_string(number) + ' ' + task.text()};
}

void Checker::watches(const std::string& watcher, proto::SessionUid uid) {
  logs_[uid].watchers[watcher] = world_.now_us();
}

void Checker::watches_no_more(const std::string& watcher) {
  for (auto& [uid, log] : logs_) log.watchers.erase(watcher);
}

void Checker::service_failed(proto::SessionUid uid, const std::string& reason) {
  logs_[uid].service_failures.insert(reason);
}

bool Checker::check_report(SessionLog& log, const std::string& watcher, proto::SessionUid uid,
                           const proto::ProgressReport& report) {
  if (auto wrong = talk_.hears(watcher, uid, report); !wrong.empty()) {
    fail(log, wrong + ": " + report.text);
    return false;
  }
  auto task = Task::parse(report.text.substr(report.text.find(' ') + 1));
  if (!task) fail(log, "a progress that no service said: " + report.text);
  return task && is_of(log, uid, report.task, *task);
}

void Checker::told(const std::string& watcher, const proto::Progress& progress, uint64_t seen) {
  SessionLog& log = logs_[progress.uid];
  if (log.relaxed || log.is_deleted) return;
  for (const auto& report : progress.reports) {
    if (!check_report(log, watcher, progress.uid, report)) return;
    auto entry = log.entry_of.find(report.task);
    if (entry != log.entry_of.end() && entry->second < seen)
      fail(log, "id " + std::to_string(report.task) + " is told as running after its end");
  }
}

// Where nothing was in the way whoever watches has heard of it. What is cancelled meanwhile is not
// told any more, and where a disk is waited for the watcher may not know that yet.
void Checker::said_for_long(uint64_t number) {
  const Talk::Report& report = talk_.report(number);
  const SessionLog& log = logs_[report.uid];
  bool waits = log.may_cancel && log.spec.durability > proto::Durability::kStored;
  if (!is_settled(report.at_us) || log.relaxed || log.is_deleted || waits) return;
  if (log.entry_of.contains(report.task)) return;
  for (const auto& [watcher, since_us] : log.watchers) {
    bool watched = since_us + proto::kUsPerSecond <= report.at_us;
    if (!watched || talk_.heard(watcher, number)) continue;
    fail(log, watcher + " was not told of the progress of id " + std::to_string(report.task));
  }
}

void Checker::read_logs(const Talk::Question& question, const proto::Logs& logs, int64_t asked_us) {
  SessionLog& log = logs_[question.uid];
  if (log.relaxed || log.is_deleted) return;
  if (logs.cut) fail(log, "so few logs, and some are left out");
  if (is_settled(asked_us) && world_.now_us() - asked_us > kLogAnswerUs)
    fail(log, "a question about logs was answered late");
  auto may_be_silent = [&](const std::string& executor) {
    auto ended = ended_us_.find(executor);  // and nobody may have noticed
    return !is_settled(asked_us) ||
           (ended != ended_us_.end() && ended->second + 2 * kLeaseUs > asked_us);
  };
  if (auto wrong = talk_.reads(question, logs, may_be_silent); !wrong.empty()) fail(log, wrong);
}

// ---- events
// -------------------------------------------------------------------------------------------------

// Of a task: when it was dispatched, started and ended, and by whom.
void Checker::check_times(SessionLog& log, const proto::Value& row) {
  std::string name = "id " + std::to_string(row.number_at("id"));
  int64_t before_ms = 0;
  for (const char* what : {"dispatched", "started", "ended"}) {
    int64_t at_ms = row.number_at(what);
    if (at_ms == 0) continue;
    if (at_ms < before_ms || at_ms > world_.now().wall_ms() + 1)
      return fail(log, name + ": the time of " + what + " makes no sense");
    before_ms = at_ms;
  }
  auto state = row.text_at("state");
  std::string executor(row.text_at("executor"));
  auto known = log.number_of.find(static_cast<proto::TaskId>(row.number_at("id")));
  bool by_service = (state == "Succeed" || state == "Failed") && !executor.empty();
  if (!by_service || known == log.number_of.end()) return;
  auto bit = executor_bits_.find(executor);
  if (bit == executor_bits_.end() || (tasks_[known->second].executors >> bit->second & 1) == 0)
    fail(log, name + " is listed as run by " + executor + ", which never had it");
}

void Checker::happened(proto::SessionUid uid, const std::string& code, const std::string& text) {
  uint64_t& times = logs_[uid].facts[{code, text}];
  times = code == "cancelled" ? times + 1 : 1;  // the others happen once
}

Facts Checker::facts(proto::SessionUid uid) const {
  auto found = logs_.find(uid);
  return found == logs_.end() ? Facts() : found->second.facts;
}

void Checker::viewed(proto::SessionUid uid, const proto::Value& row, const Facts& known) {
  SessionLog& log = logs_[uid];
  auto events = row.find("events");
  bool other = static_cast<proto::SessionUid>(row.number_at("uid")) != uid;  // of the same name
  if (other || log.relaxed || log.is_deleted || store_lost_) return;
  if (events == nullptr || events->list() == nullptr) return fail(log, "a view without events");
  // Of a `memory` session clients are told before it is stored.
  bool stored = log.spec.durability != proto::Durability::kMemory;
  auto wrong = log.events.see(EventList::from(*events->list()), stored ? known : Facts(),
                              world_.now().wall_ms());
  if (!wrong.empty()) fail(log, wrong);
}

// Why it cannot have happened; empty: it can.
std::string Checker::invented(const SessionLog& log, const EventList::Event& event) const {
  if (event.code == "created" || event.code == "updated") return "";  // counted by the list
  if (event.code == "cancelled" || event.code == "closing")
    return log.may_cancel ? "" : "nobody cancelled or closed";
  if (event.code == "requeued") return broker_restarted_ ? "" : "no broker began anew";
  auto known_failure = [&](const std::string& text) {
    return std::any_of(log.service_failures.begin(), log.service_failures.end(),
                       [&](const auto& said) { return text.find(said) != text.npos; });
  };
  if (event.code == "bind_failed")
    return known_failure(event.text) ? "" : "no service failed like that";
  if (event.code != "retried" && event.code != "failed") return "there is no such code";
  auto said = run_and_reason(event.text);
  if (!said) return "it names no run";
  bool lost = said->second.starts_with("executor ") &&
              said->second.find(" was lost: ") != std::string::npos;
  return lost || known_failure(said->second) ? "" : "nobody failed like that";
}

void Checker::compare_events(SessionLog& log, const broker::MemoryKeys& keys, uint64_t cancelled) {
  auto read =
      std::get<broker::EventsRead>(broker::answer_read(keys, broker::ReadEvents{0, log.name}));
  auto wrong = log.events.see(EventList::from(read.events), log.facts, world_.now().wall_ms());
  if (!wrong.empty()) return fail(log, wrong);
  uint64_t said_cancelled = 0;
  std::map<proto::TaskId, uint64_t> retried;
  std::set<proto::TaskId> given_up;
  for (const auto& event : log.events.events()) {
    if (auto why = invented(log, event); !why.empty())
      return fail(log, "has an event " + event.code + " (" + event.text + "), and " + why);
    if (event.code == "cancelled" || event.code == "closing") {
      uint64_t pending = 0, running = 0;
      std::sscanf(event.text.c_str(), "%lu pending, %lu running", &pending, &running);
      said_cancelled += pending + running;
    }
    auto of = event.code == "retried" || event.code == "failed" ? run_and_reason(event.text)
                                                                : std::nullopt;
    for (proto::TaskId id = of ? of->first.first : 0; of && id < of->first.end(); id++) {
      if (event.code == "retried") retried[id]++;
      if (event.code == "failed") given_up.insert(id);
    }
  }
  if (!log.events.whole()) return;
  if (said_cancelled != cancelled) {
    return fail(log, "has " + std::to_string(cancelled) + " cancelled tasks, and its events say " +
                         std::to_string(said_cancelled));
  }
  if (given_up != log.given_up) return fail(log, "its events tell of other tasks given up");
  for (const auto& [index, entry] : log.entries) {
    for (proto::TaskId id = entry.run.first; entry.attempt > 1 && id < entry.run.end(); id++) {
      if (retried[id] + 1 < entry.attempt)
        return fail(log, "id " + std::to_string(id) + " was tried again without an event");
    }
  }
}

}  // namespace flame::sim

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/sim/checker.hpp"

#include <algorithm>
#include <functional>

#include "broker/core/core.hpp"
#include "broker/store/memory_read.hpp"
#include "proto/codec.hpp"
#include "proto/elements.hpp"

namespace flame::sim {

using proto::Code;

namespace {

uint64_t digest_of(const proto::Bytes& payload, const std::vector<proto::Exception>& exceptions) {
  std::hash<std::string_view> hash;
  uint64_t digest = hash(payload.view());
  for (const auto& e : exceptions)
    digest = digest * 31 + e.id + hash(e.reason) + static_cast<uint64_t>(e.code);
  return digest;
}

}  // namespace

uint64_t Checker::attempt(proto::SessionUid uid) {
  tasks_.push_back({uid});
  return tasks_.size() - 1;
}

void Checker::session(proto::SessionUid uid, const std::string& name,
                      const proto::SessionSpec& spec) {
  SessionLog& log = logs_[uid];
  if (!log.name.empty() && log.name != name) return fail(log, "is also " + name);
  log.name = name;
  log.spec = spec;
  log.relaxed |= memory_lost_ && spec.durability == proto::Durability::kMemory;
}

uint64_t Checker::serial_of(const std::string& application) const {
  auto found = serials_.find(application);
  return found == serials_.end() ? 0 : found->second;
}

void Checker::deleted(proto::SessionUid uid) { logs_[uid].is_deleted = true; }

void Checker::store_lost() {
  store_lost_ = true;
  for (auto& [uid, log] : logs_) log.relaxed = true;
}

void Checker::told_lost(proto::SessionUid uid, const proto::Run& run) {
  SessionLog& log = logs_[uid];
  bool safe = !may_lose_.contains(log.spec.durability);
  if (safe || !log.relaxed) fail(log, "a client was told that " + to_string(run) + " is lost");
}

void Checker::acknowledged(proto::SessionUid uid, const proto::Run& run,
                           const std::vector<uint64_t>& numbers) {
  SessionLog& log = logs_[uid];
  if (run.count != numbers.size()) {
    return fail(log, "acknowledged " + to_string(run) + " for " + std::to_string(numbers.size()) +
                         " tasks");
  }
  for (size_t i = 0; i < numbers.size(); i++) {
    TaskLog& task = tasks_[numbers[i]];
    proto::TaskId id = run.first + i;
    acknowledgements_++;
    if (log.relaxed) continue;
    if (task.acknowledged)
      return fail(log, "task number " + std::to_string(numbers[i]) + " is acknowledged twice");
    auto known = log.number_of.find(id);
    if (known != log.number_of.end() && known->second != numbers[i]) {
      return fail(log, "id " + std::to_string(id) + " was given to two tasks");
    }
    if (task.id != 0 && task.id != id) return fail(log, "a task has results as two ids");
    task.id = id;
    task.acknowledged = true;
    log.number_of[id] = numbers[i];
    if (!log.entry_of.contains(id)) log.waiting++;
  }
}

// What a service says names the input that it is of.
bool Checker::is_of(SessionLog& log, proto::SessionUid uid, proto::TaskId id, const Task& task) {
  std::string wrong;
  auto known = log.number_of.find(id);
  if (task.number >= tasks_.size()) {
    wrong = "a task that nobody submitted";
  } else if (tasks_[task.number].uid != uid) {
    wrong = "another session's task";
  } else if (auto of = tasks_[task.number].id; of != 0 && of != id) {
    wrong = "the input of id " + std::to_string(of);
  } else if (known != log.number_of.end() && known->second != task.number) {
    wrong = "another input";
  }
  if (!wrong.empty())
    fail(log, "id " + std::to_string(id) + ": what its service said is of " + wrong);
  return wrong.empty();
}

void Checker::trace(SessionLog& log, proto::SessionUid uid, proto::TaskId id, const Ran& ran) {
  const Task& task = ran.task;
  if (!is_of(log, uid, id, task)) return;
  std::string name = "id " + std::to_string(id);
  if (task.kind != 'n') return fail(log, name + ": succeeded, but it can not");
  if (ran.with.common < task.common) {
    return fail(log, name + ": ran with common data " + std::to_string(ran.with.common) +
                         ", and was submitted after " + std::to_string(task.common));
  }
  if (ran.with.application < task.application) {
    return fail(log, name + ": ran with application " + std::to_string(ran.with.application) +
                         ", and was submitted after " + std::to_string(task.application));
  }
  tasks_[task.number].id = id;
  log.number_of[id] = task.number;
}

bool Checker::check_outcomes(SessionLog& log, const proto::Results& results) {
  bool cancelled = results.payload.empty();  // one exception stands for all of the run
  auto exception = results.exceptions.begin();
  proto::ElementReader reader(results.payload.view());
  for (proto::TaskId id = results.run.first; id < results.run.end(); id++) {
    auto output = reader.next();
    bool excepted = exception != results.exceptions.end() && exception->id == id;
    Code code = cancelled ? Code::kTaskCancelled : excepted ? exception++->code : Code::kOk;
    if (code == Code::kTaskCancelled && !log.may_cancel)
      fail(log, "id " + std::to_string(id) + " is cancelled");
    if (code == Code::kTaskCrashed || code == Code::kTaskTimeout) log.given_up.insert(id);
    if (code == Code::kLostByStore && !store_lost_)
      fail(log, "id " + std::to_string(id) + " is lost by the store");
    if (code != Code::kOk) continue;
    auto task = output ? ran_of_output(*output) : std::nullopt;
    if (!task) {
      fail(log, "id " + std::to_string(id) + " has no output that a service made");
      return false;
    }
    if (!log.relaxed) trace(log, results.uid, id, *task);
  }
  return true;
}

void Checker::listed(const std::string& watcher, proto::SessionUid uid, const proto::Tasks& tasks,
                     uint64_t seen) {
  SessionLog& log = logs_[uid];
  proto::ElementReader elements(tasks.payload.view());
  proto::TaskId before = 0;
  while (auto element = elements.next()) {
    auto row = proto::decode_value(*element);
    if (!row || row->find("id") == nullptr || row->find("state") == nullptr)
      return fail(log, "an answer about tasks has a row that is none");
    auto id = static_cast<proto::TaskId>(row->find("id")->number());
    const std::string& state = *row->find("state")->text();
    std::string name = "id " + std::to_string(id);
    if (id <= before || (tasks.next != 0 && id >= tasks.next))
      return fail(log, name + " is listed in the wrong place");
    before = id;
    if (row->find("input") != nullptr) elements.next();
    auto output = row->find("output") != nullptr ? elements.next() : std::nullopt;
    // A session of that name may be another one by now; what a store forgot is looked at elsewhere.
    bool sure = log.spec.durability != proto::Durability::kMemory && !log.relaxed &&
                !log.is_deleted && !store_lost_;
    if (!sure) continue;
    auto entry = log.entry_of.find(id);
    bool is_done = state != "Pending" && state != "Running";
    if (entry != log.entry_of.end() && entry->second < seen && !is_done)
      fail(log, name + " was delivered and is listed as " + state);
    check_times(log, *row);
    if (auto text = row->text_at("progress"); !text.empty()) {
      proto::ProgressReport report{id, static_cast<uint64_t>(row->number_at("percent")),
                                   std::string(text)};
      if (is_done) fail(log, name + " is listed as " + state + " with a progress");
      check_report(log, watcher, uid, report);
    }
    if (!output) continue;
    auto task = ran_of_output(*output);
    if (!task) return fail(log, name + " is listed with an output that no service made");
    trace(log, uid, id, *task);
  }
}

void Checker::delivered(const std::string& watcher, const proto::Results& results) {
  SessionLog& log = logs_[results.uid];
  Entry entry{results.run, digest_of(results.payload, results.exceptions), results.attempt};
  auto [at, fresh] = log.entries.try_emplace(results.index, entry);
  if (!fresh) {
    bool same = at->second.run == entry.run && at->second.digest == entry.digest;
    if (!same && !log.relaxed) {
      fail(log, watcher + " got another entry " + std::to_string(results.index) + " (" +
                    to_string(results.run) + ", was " + to_string(at->second.run) + ")");
    }
    at->second = entry;
    if (same) return;
  }
  if (!check_outcomes(log, results)) return;
  for (proto::TaskId id = results.run.first; id < results.run.end(); id++) {
    auto [before, first] = log.entry_of.try_emplace(id, results.index);
    if (first) {
      results_++;
      auto known = log.number_of.find(id);
      if (known != log.number_of.end() && tasks_[known->second].acknowledged && log.waiting > 0)
        log.waiting--;
    } else if (before->second != results.index && !log.relaxed) {
      return fail(log, "id " + std::to_string(id) + " has two results: entries " +
                           std::to_string(before->second) + " and " +
                           std::to_string(results.index));
    }
  }
}

bool Checker::forgives(proto::SessionUid uid) const {
  auto found = logs_.find(uid);
  return found != logs_.end() && found->second.relaxed;
}

bool Checker::complete(proto::SessionUid uid) const {
  auto found = logs_.find(uid);
  return found == logs_.end() || found->second.is_deleted || found->second.relaxed ||
         found->second.waiting == 0;
}

bool Checker::complete() const {
  return std::all_of(logs_.begin(), logs_.end(),
                     [this](const auto& log) { return complete(log.first); });
}

uint64_t Checker::entries_end(proto::SessionUid uid) const {
  auto found = logs_.find(uid);
  if (found == logs_.end() || found->second.entries.empty()) return 0;
  return found->second.entries.rbegin()->first + 1;
}

std::string Checker::unfinished() const {
  std::string text;
  for (const auto& [uid, log] : logs_) {
    if (complete(uid)) continue;
    text += " session " + log.name + " lacks results of " + std::to_string(log.waiting) +
            " acknowledged tasks:";
    int shown = 0;
    for (const auto& [id, number] : log.number_of) {
      if (log.entry_of.contains(id) || !tasks_[number].acknowledged || shown++ >= 8) continue;
      text += " " + std::to_string(id);
    }
    text += ";";
  }
  return text;
}

bool Checker::has_seen_all(const broker::MemoryKeys& keys) const {
  return std::all_of(logs_.begin(), logs_.end(), [&](const auto& item) {
    const auto& [uid, log] = item;
    if (log.is_deleted || log.relaxed) return true;
    auto read = std::get<broker::OutputsRead>(broker::answer_read(
        keys, broker::ReadOutputs{0, log.name, 0, UINT64_MAX / 2, entries_end(uid)}));
    return read.runs.empty();
  });
}

void Checker::compare(const broker::MemoryKeys& keys) {
  auto recovered = broker::recover(keys);
  for (auto& [uid, log] : logs_) {
    // An executor may have known of one whose creation was lost before a client was answered.
    bool promised = !log.name.empty() && !log.is_deleted && !log.relaxed;
    if (promised && world_.failure().empty()) compare(log, keys, recovered);
  }
  if (!store_lost_ && world_.failure().empty()) compare_applications(recovered);
  if (world_.failure().empty()) compare_start(recovered);
}

void Checker::compare_start(const broker::Recovered& recovered) {
  broker::Core core(broker::CoreConfig{});
  core.on(broker::StoreEvent(recovered), {world_.now_us(), world_.now_us()});
  if (auto wrong = core.broken_invariant(); !wrong.empty())
    return world_.fail("a broker that starts now: " + wrong);
  for (const auto& session : recovered.sessions) {
    std::map<std::string, std::string> fields(session.fields.begin(), session.fields.end());
    auto uid = core.state().names.find(session.session);
    if (uid == core.state().names.end()) continue;  // unreadable
    const auto& known = core.state().sessions.at(uid->second)->counters;
    auto check = [&](const char* name, uint64_t count) {
      if (fields[name] == std::to_string(count)) return;
      world_.fail("a broker that starts now finds " + std::to_string(count) + " " + name +
                  " tasks in session " + session.session + "; its fields say " + fields[name]);
    };
    check("pending", known.pending);
    check("running", known.running);
    check("succeed", known.succeed);
    check("failed", known.failed);
    check("cancelled", known.cancelled);
  }
}

void Checker::compare_applications(const broker::Recovered& recovered) {
  std::map<std::string, uint64_t> stored;
  for (const auto& [name, text] : recovered.applications) {
    auto value = proto::decode_value(text);
    auto application = value ? proto::application_from(*value) : value.error();
    if (!application) return world_.fail("application " + name + " is damaged in Redis");
    stored[name] = sim::serial_of(*application);
  }
  for (const auto& [name, serial] : serials_) {
    if (stored[name] < serial) {
      world_.fail("application " + name + " is " + std::to_string(stored[name]) +
                  " in Redis, and was answered as " + std::to_string(serial));
    }
  }
}

void Checker::compare(SessionLog& log, const broker::MemoryKeys& keys,
                      const broker::Recovered& recovered) {
  auto session = std::find_if(recovered.sessions.begin(), recovered.sessions.end(),
                              [&](const auto& s) { return s.session == log.name; });
  if (session == recovered.sessions.end()) return fail(log, "is not in Redis");
  uint64_t done_first = 0, unfinished = 0, first_segment = 0, tasks = 0, cancelled = 0;
  for (const auto& [name, value] : session->fields) {
    if (name == "done_first") done_first = std::stoull(value);
    if (name == "first_segment") first_segment = std::stoull(value);
    if (name == "tasks") tasks = std::stoull(value);
    if (name == "cancelled") cancelled = std::stoull(value);
    if (name == "pending" || name == "running") unfinished += std::stoull(value);
  }
  auto read = std::get<broker::OutputsRead>(
      broker::answer_read(keys, broker::ReadOutputs{0, log.name, 0, UINT64_MAX / 2, done_first}));
  for (size_t i = 0; i < read.runs.size(); i++) {
    auto entry = log.entries.find(done_first + i);
    if (entry == log.entries.end())
      return fail(log, "entry " + std::to_string(done_first + i) + " was delivered to nobody");
    auto stored = proto::decode_output(read.values[i].view(), read.runs[i].count);
    if (!stored) stored = proto::decode_output(read.values[i].view(), 0);
    if (!stored) return fail(log, "Redis holds a damaged output " + to_string(read.runs[i]));
    uint64_t digest = digest_of(proto::Bytes::copy(stored->elements), stored->head.exceptions);
    if (!(entry->second.run == read.runs[i]) || entry->second.digest != digest) {
      return fail(log, "entry " + std::to_string(done_first + i) +
                           " was delivered differently from what Redis holds");
    }
  }
  if (done_first + read.runs.size() !=
      (log.entries.empty() ? 0 : log.entries.rbegin()->first + 1)) {
    return fail(log, "Redis has another number of results than were delivered");
  }
  // Nobody waits for what nobody heard acknowledged: it may still be under way.
  if (unfinished == 0 && !session->attempts.empty()) {
    fail(log, "attempts of finished tasks are still in Redis: " +
                  std::to_string(session->attempts.front().first) + " ...");
  }
  compare_events(log, keys, cancelled);
  bool all_read = unfinished == 0 && read.runs.empty() && done_first > 0;
  if (all_read && first_segment != tasks / proto::kSegmentTasks) {
    return fail(log, "all is read, and the letters from segment " + std::to_string(first_segment) +
                         " on are still there");
  }
  for (proto::TaskId id = 1; id <= first_segment * proto::kSegmentTasks; id++) {
    if (!log.entry_of.contains(id)) {
      return fail(log, "the letter of id " + std::to_string(id) +
                           " was dropped, and its result was never delivered");
    }
  }
  for (const auto& [segment, letters] : session->states) {
    for (size_t at = 0; at < letters.size(); at++) {
      proto::TaskId id = segment * proto::kSegmentTasks + at + 1;
      bool finished = letters[at] == 'S' || letters[at] == 'F' || letters[at] == 'C';
      if (finished != log.entry_of.contains(id)) {
        return fail(log, "id " + std::to_string(id) + " is '" + letters[at] +
                             "' in Redis, and was " + (finished ? "never" : "") + " delivered");
      }
    }
  }
}

}  // namespace flame::sim

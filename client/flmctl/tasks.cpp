// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/tasks.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>

#include "client/terminal.hpp"
#include "proto/text.hpp"

namespace flame::flmctl {

using proto::Error;

namespace {

// A listing is for a person; who wants all results uses `flmctl results`.
constexpr uint64_t kListedMax = 1'000'000;
constexpr std::array kStateWords = {
    std::pair("pending", TaskState::kPending), std::pair("running", TaskState::kRunning),
    std::pair("succeed", TaskState::kSucceed), std::pair("failed", TaskState::kFailed),
    std::pair("cancelled", TaskState::kCancelled)};

const char* state_of(const TaskResult& result) {
  if (result.ok()) return "Succeed";
  return result.code == flame::Code::kTaskCancelled ? "Cancelled" : "Failed";
}

int64_t ms_of(TaskStatus::Time time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

// "failed,cancelled"
proto::Result<std::vector<TaskState>> states_from(const std::string& words) {
  std::vector<TaskState> states;
  for (size_t from = 0; from < words.size();) {
    size_t comma = std::min(words.find(',', from), words.size());
    auto word = words.substr(from, comma - from);
    from = comma + 1;
    auto known = std::find_if(kStateWords.begin(), kStateWords.end(),
                              [&](const auto& each) { return each.first == word; });
    if (known == kStateWords.end()) {
      return Error{proto::Code::kBadRequest,
                   "--state takes pending, running, succeed, failed and cancelled, not '" +
                       proto::printable(word, 40) + "'"};
    }
    states.push_back(known->second);
  }
  return states;
}

// Why nothing happens with a task that waits: the session knows.
void add_why(Command& command, const Session& session, proto::Map& row) {
  auto found = command.ask_rows(proto::View{0, "session", session.id()});
  if (!found || found->rows.empty()) return;
  if (auto why = found->rows.front().find("why")) row.emplace_back("why", *why);
}

}  // namespace

proto::Map row_of(const proto::SessionInfo& info) {
  const auto& c = info.counters;
  return {{"id", info.session},   {"state", std::string(proto::name_of(info.state))},
          {"tasks", c.tasks},     {"pending", c.pending},
          {"running", c.running}, {"succeed", c.succeed},
          {"failed", c.failed},   {"cancelled", c.cancelled}};
}

proto::Map row_of(const TaskStatus& task) {
  proto::Map row = {{"id", task.task}, {"state", to_string(task.state)}};
  if (task.attempt > 0) row.emplace_back("attempt", uint64_t{task.attempt});
  if (!task.executor.empty()) row.emplace_back("executor", task.executor);
  for (auto [name, time] : {std::pair("dispatched", task.dispatched),
                            std::pair("started", task.started), std::pair("ended", task.ended)}) {
    if (ms_of(time) > 0) row.emplace_back(name, ms_of(time));
  }
  if (task.code != flame::Code::kOk) {
    row.emplace_back("code", flame::to_string(task.code));
    row.emplace_back("reason", task.reason);
  }
  if (task.percent > 0 || !task.progress.empty()) {
    row.emplace_back("percent", task.percent);
    row.emplace_back("progress", task.progress);
  }
  if (task.input) row.emplace_back("input", *task.input);
  if (task.output) row.emplace_back("output", *task.output);
  return row;
}

proto::Map row_of(const TaskResult& result) {
  proto::Map row = {{"id", result.task},
                    {"state", state_of(result)},
                    {"attempt", uint64_t{result.attempt}},
                    {"executor", result.executor}};
  if (result.ok()) {
    row.emplace_back("output", result.output);
  } else {
    row.emplace_back("code", to_string(result.code));
    row.emplace_back("reason", result.reason);
  }
  return row;
}

std::string show_result(const TaskResult& result, Format format) {
  if (is_data(format)) return show_item(row_of(result), format);
  if (format == Format::kName) return std::to_string(result.task) + "\n";
  constexpr size_t kShown = 64 * 1024;
  return std::to_string(result.task) + "\t" + state_of(result) + "\t" +
         proto::printable(result.ok() ? result.output : result.reason, kShown) + "\n";
}

proto::Exception failure_of(const TaskResult& result) {
  return {result.task, static_cast<proto::Code>(result.code), result.reason};
}

void show_failures(const tools::Failures& failures) {
  if (failures.count() == 0) return;
  std::fprintf(stderr, "%s tasks failed:\n%s", tools::with_thousands(failures.count()).c_str(),
               failures.show().c_str());
}

proto::Result<uint64_t> task_number(const Target& target, const std::string& verb) {
  auto id = proto::parse_number<uint64_t>(target.task);
  if (id && *id > 0) return *id;
  return Error{proto::Code::kBadRequest,
               "which task? flmctl " + verb + " SESSION/7, or -s SESSION -t 7"};
}

int list_tasks(Command& command, const Target& target) {
  if (target.id.empty()) {
    return command.fail_usage(
        {proto::Code::kBadRequest, "of which session? flmctl list task SESSION, or `last`"});
  }
  auto states = states_from(command.options().text("state"));
  if (!states) return command.fail_usage(states.error());
  auto limit = command.options().number("limit", 1, kListedMax);
  if (!limit) return command.fail_usage(limit.error());
  auto session = command.client().open_session(target.id);
  // One more than is shown tells whether there are more.
  auto tasks = session.tasks({.limit = *limit + 1, .states = *states, .payloads = true});
  bool more = tasks.size() > *limit;
  if (more) tasks.pop_back();
  proto::List rows;
  for (const auto& task : tasks) rows.push_back(row_of(task));
  auto terminal = tools::inspect_terminal(STDOUT_FILENO);
  const std::vector<Column> columns = {{"ID", "id"},
                                       {"State", "state"},
                                       {"Attempt", "attempt"},
                                       {"Executor", "executor"},
                                       {"Started", "started", time_cell, true},
                                       {"Ended", "ended", time_cell, true},
                                       {"Output", "output"},
                                       {"Reason", "reason"}};
  std::fputs(show_rows(rows, columns, *command.format(), terminal.is_terminal ? terminal.width : 0)
                 .c_str(),
             stdout);
  std::fflush(stdout);
  if (more) {
    std::fprintf(stderr,
                 "flmctl: only the first %s; --limit N shows more, flmctl results %s all "
                 "that finished\n",
                 tools::with_thousands(*limit).c_str(), session.id().c_str());
  }
  return tools::kExitOk;
}

int view_task(Command& command, const Target& target) {
  auto id = task_number(target, "view task");
  if (!id) return command.fail_usage(id.error());
  auto session = command.client().open_session(target.id);
  auto status = session.status();
  if (*id > status.tasks) {
    return command.fail(
        Error{proto::Code::kNotFound,
              "session " + session.id() +
                  (status.tasks == 0 ? " has no tasks yet; flmctl submit " + session.id() + " ..."
                                     : " has tasks 1 to " + std::to_string(status.tasks))});
  }
  auto task = session.task(*id);
  proto::Map row = row_of(task);
  if (task.state == TaskState::kPending) add_why(command, session, row);
  bool finished = task.state != TaskState::kPending && task.state != TaskState::kRunning;
  if (finished && task.ended == TaskStatus::Time{}) {
    row.emplace_back("why", "its result was dropped already, as the session's retention says");
  }
  auto format = *command.format();
  for (auto& [name, value] : row) {
    bool is_time = name == "dispatched" || name == "started" || name == "ended";
    if (is_time && format == Format::kTable) value = time_cell(value);  // for a person
  }
  std::fputs(show_one(row, format).c_str(), stdout);
  return tools::kExitOk;
}

}  // namespace flame::flmctl

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/tasks.hpp"

#include <unistd.h>

#include <cstdio>

#include "client/terminal.hpp"
#include "proto/text.hpp"

namespace flame::flmctl {

using proto::Error;

namespace {

// A listing is for a person; who wants all results uses `flmctl results`.
constexpr size_t kTasksListed = 1'000;

const char* state_of(const TaskResult& result) {
  if (result.ok()) return "Succeed";
  return result.code == flame::Code::kTaskCancelled ? "Cancelled" : "Failed";
}

void note_unfinished(const SessionStatus& status) {
  if (status.pending + status.running == 0) return;
  std::fprintf(stderr, "flmctl: %s pending and %s running tasks have no result yet\n",
               tools::with_thousands(status.pending).c_str(),
               tools::with_thousands(status.running).c_str());
}

}  // namespace

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
  if (format == Format::kJson) return to_json_line(row_of(result));
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

int list_tasks(Command& command, const Target& target) {
  if (target.id.empty()) {
    return command.fail_usage(
        {proto::Code::kBadRequest, "of which session? flmctl list task SESSION, or `last`"});
  }
  auto session = command.client().open_session(target.id);
  auto stream = session.results({.follow = false});
  proto::List rows;
  while (auto result = stream.next()) {
    rows.push_back(row_of(*result));
    if (rows.size() == kTasksListed) {
      std::fprintf(stderr, "flmctl: the first 1,000 that finished; flmctl results %s prints all\n",
                   session.id().c_str());
      break;
    }
  }
  auto terminal = tools::inspect_terminal(STDOUT_FILENO);
  const std::vector<Column> columns = {{"ID", "id"},           {"State", "state"},
                                       {"Attempt", "attempt"}, {"Executor", "executor"},
                                       {"Output", "output"},   {"Reason", "reason"}};
  std::fputs(show_rows(rows, columns, *command.format(), terminal.is_terminal ? terminal.width : 0)
                 .c_str(),
             stdout);
  note_unfinished(session.status());
  return tools::kExitOk;
}

int view_task(Command& command, const Target& target) {
  auto id = proto::parse_number<uint64_t>(target.task);
  if (!id || *id == 0) {
    return command.fail_usage(
        {proto::Code::kBadRequest, "which task? flmctl view task SESSION/7, or -s SESSION -t 7"});
  }
  auto session = command.client().open_session(target.id);
  auto status = session.status();
  if (*id > status.tasks) {
    return command.fail(
        Error{proto::Code::kNotFound,
              "session " + session.id() + " has tasks 1 to " + std::to_string(status.tasks)});
  }
  auto stream = session.results({.follow = false});
  while (auto result = stream.next()) {
    if (result->task != *id) continue;
    std::fputs(show_one(row_of(*result), *command.format()).c_str(), stdout);
    return tools::kExitOk;
  }
  proto::Map row = {{"id", *id}, {"state", "Pending or Running: no result yet"}};
  std::fputs(show_one(row, *command.format()).c_str(), stdout);
  return tools::kExitOk;
}

}  // namespace flame::flmctl

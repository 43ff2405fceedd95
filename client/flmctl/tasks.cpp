// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/tasks.hpp"

#include <unistd.h>

#include <cstdio>
#include <functional>

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

// What the listing cannot show: the broker tells how many, not which.
void note_others(const std::string& session, const SessionStatus& status, size_t shown) {
  if (status.pending + status.running > 0) {
    std::fprintf(stderr,
                 "flmctl: %s pending and %s running tasks are not in this list: they have no "
                 "result yet\n",
                 tools::with_thousands(status.pending).c_str(),
                 tools::with_thousands(status.running).c_str());
  }
  uint64_t finished = status.succeed + status.failed + status.cancelled;
  if (shown == kTasksListed && finished > shown) {
    std::fprintf(stderr, "flmctl: the first %s of %s that finished; flmctl results %s prints all\n",
                 tools::with_thousands(shown).c_str(), tools::with_thousands(finished).c_str(),
                 session.c_str());
  } else if (finished > shown) {
    std::fprintf(stderr,
                 "flmctl: the results of %s finished tasks were dropped already, as the session's "
                 "retention says\n",
                 tools::with_thousands(finished - shown).c_str());
  }
}

// All that is known of a task without a result; the counters often leave only one possibility.
proto::Map row_without_result(uint64_t task, const SessionStatus& status) {
  const char* state = status.running == 0   ? "Pending"
                      : status.pending == 0 ? "Running"
                                            : "Pending or Running";
  bool dropped = status.pending + status.running == 0;
  return {{"id", task},
          {"state", dropped ? "Finished" : state},
          {"why", dropped ? "its result was dropped already, as the session's retention says"
                          : "no result yet; the session has " +
                                tools::with_thousands(status.pending) + " pending and " +
                                tools::with_thousands(status.running) + " running tasks"}};
}

/// Calls `take` with each result that is still kept, until it returns false.
void each_result(Session session, const std::function<bool(const TaskResult&)>& take) {
  auto stream = session.results({.follow = false});
  for (;;) {
    try {
      auto result = stream.next();
      if (!result || !take(*result)) return;
    } catch (const flame::Error& error) {
      if (error.code() != flame::Code::kTrimmed) throw;  // the stream goes on behind the gap
    }
  }
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
  proto::List rows;
  each_result(session, [&rows](const TaskResult& result) {
    rows.push_back(row_of(result));
    return rows.size() < kTasksListed;
  });
  auto terminal = tools::inspect_terminal(STDOUT_FILENO);
  const std::vector<Column> columns = {{"ID", "id"},           {"State", "state"},
                                       {"Attempt", "attempt"}, {"Executor", "executor"},
                                       {"Output", "output"},   {"Reason", "reason"}};
  std::fputs(show_rows(rows, columns, *command.format(), terminal.is_terminal ? terminal.width : 0)
                 .c_str(),
             stdout);
  std::fflush(stdout);
  note_others(session.id(), session.status(), rows.size());
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
              "session " + session.id() +
                  (status.tasks == 0 ? " has no tasks yet; flmctl submit " + session.id() + " ..."
                                     : " has tasks 1 to " + std::to_string(status.tasks))});
  }
  // The counters were read before: a task that ends meanwhile shows its result.
  proto::Map row = row_without_result(*id, status);
  each_result(session, [&](const TaskResult& result) {
    if (result.task == *id) row = row_of(result);
    return result.task != *id;
  });
  std::fputs(show_one(row, *command.format()).c_str(), stdout);
  return tools::kExitOk;
}

}  // namespace flame::flmctl

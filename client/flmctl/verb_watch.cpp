// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <cstdio>

#include "client/flmctl/tasks.hpp"
#include "client/flmctl/verbs.hpp"
#include "proto/text.hpp"

namespace flame::flmctl {

namespace {

std::string show_progress(const TaskProgress& progress, Format format) {
  if (is_data(format)) {
    proto::Map row = {{"id", progress.task},
                      {"state", "Running"},
                      {"percent", progress.percent},
                      {"progress", progress.text}};
    return show_item(row, format);
  }
  return std::to_string(progress.task) + "\tRunning\t" + std::to_string(progress.percent) + " % " +
         progress.text + "\n";
}

int watch_session(Command& command, const Target& target) {
  auto session = command.client().open_session(target.id);
  auto format = *command.format();
  session.on_progress([format](const TaskProgress& progress) {
    std::fputs(show_progress(progress, format).c_str(), stdout);
    std::fflush(stdout);
  });
  auto stream = session.results({.only_new = true, .follow = true});
  tools::Failures failures;
  bool bounded = command.options().given("timeout");
  std::chrono::milliseconds time(command.timeout_ms());
  while (auto result = bounded ? stream.next_for(time) : stream.next()) {
    std::fputs(show_result(*result, format).c_str(), stdout);
    std::fflush(stdout);
    if (!result->ok()) failures.add(failure_of(*result));
  }
  return failures.count() > 0 ? tools::kExitTasksFailed : tools::kExitOk;
}

std::string show_change(const TaskStatus& task, Format format) {
  if (is_data(format)) return show_item(row_of(task), format);
  std::string line = std::string(to_string(task.state));
  if (!task.executor.empty()) line += " on " + task.executor;
  if (task.attempt > 1) line += ", attempt " + std::to_string(task.attempt);
  if (!task.progress.empty() || task.percent > 0) {
    line += ": " + std::to_string(task.percent) + " % " + proto::printable(task.progress, 1000);
  }
  if (!task.reason.empty()) line += ": " + proto::printable(task.reason, 4096);
  return line + "\n";
}

int watch_task(Command& command, const Target& target) {
  auto id = task_number(target, "watch");
  if (!id) return command.fail_usage(id.error());
  auto session = command.client().open_session(target.id);
  auto format = *command.format();
  auto time = command.options().given("timeout") ? std::chrono::milliseconds(command.timeout_ms())
                                                 : std::chrono::milliseconds::max();
  std::optional<TaskStatus> task;
  do {
    task = session.watch(*id, task, time);
    std::fputs(show_change(*task, format).c_str(), stdout);
    std::fflush(stdout);
  } while (!task->finished());
  return task->state == TaskState::kSucceed ? tools::kExitOk : tools::kExitTasksFailed;
}

}  // namespace

int run_watch(Command& command) {
  auto target = command.target_with_id(Kind::kSession);
  if (!target) return command.fail_usage(target.error());
  return target->kind == Kind::kTask ? watch_task(command, *target)
                                     : watch_session(command, *target);
}

}  // namespace flame::flmctl

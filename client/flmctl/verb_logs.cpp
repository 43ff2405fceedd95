// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <cstdio>

#include "client/flmctl/tasks.hpp"
#include "client/flmctl/verbs.hpp"

namespace flame::flmctl {

int run_logs(Command& command) {
  auto target = command.target_with_id(Kind::kSession);
  if (!target) return command.fail_usage(target.error());
  uint64_t task = 0;
  if (!target->task.empty()) {
    auto id = task_number(*target, "logs");
    if (!id) return command.fail_usage(id.error());
    task = *id;
  }
  auto session = command.client().open_session(target->id);
  auto logs = session.logs(task);
  auto format = *command.format();
  if (is_data(format)) {
    proto::List rows;
    for (const auto& log : logs) {
      rows.push_back(proto::Map{{"executor", log.executor},
                                {"instance", log.instance},
                                {"running", log.running},
                                {"text", log.text},
                                {"error", log.error}});
    }
    std::fputs(show_rows(rows, {}, format, 0).c_str(), stdout);
    return tools::kExitOk;
  }
  for (const auto& log : logs) {
    std::printf("==> executor %s, instance %llu%s <==\n", log.executor.c_str(),
                static_cast<unsigned long long>(log.instance), log.running ? "" : " (ended)");
    if (!log.error.empty()) std::printf("(%s)\n", log.error.c_str());
    std::fwrite(log.text.data(), 1, log.text.size(), stdout);
    if (!log.text.empty() && log.text.back() != '\n') std::fputs("\n", stdout);
  }
  std::fflush(stdout);
  if (logs.empty()) {
    std::fprintf(stderr, "flmctl: nothing was written%s, or the executors that kept it have left\n",
                 task == 0 ? " in this session" : " while this task ran");
  }
  return tools::kExitOk;
}

}  // namespace flame::flmctl

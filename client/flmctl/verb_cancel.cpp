// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <cstdio>

#include "client/flmctl/verbs.hpp"
#include "client/terminal.hpp"
#include "proto/run.hpp"

namespace flame::flmctl {

int run_cancel(Command& command) {
  auto target = command.target_with_id(Kind::kSession);
  if (!target) return command.fail_usage(target.error());
  bool running = command.options().flag("running");
  proto::CancelTasks message{0, target->id, {}, running};
  for (const auto& word : target->rest) {
    auto run = proto::parse_run(word);
    if (!run) return command.fail_usage(run.error());
    message.runs.push_back(*run);
  }
  auto done = command.ask<proto::Cancelled>(std::move(message));
  if (!done) return command.fail(done.error());
  auto format = command.format();
  if (is_data(*format)) {
    proto::Map row = {{"pending", done->pending}, {"running", done->running}};
    std::fputs(show_one(row, *format).c_str(), stdout);
    return tools::kExitOk;
  }
  std::printf("Session <%s>: %s pending and %s running tasks were cancelled.\n", target->id.c_str(),
              tools::with_thousands(done->pending).c_str(),
              tools::with_thousands(done->running).c_str());
  return tools::kExitOk;
}

}  // namespace flame::flmctl

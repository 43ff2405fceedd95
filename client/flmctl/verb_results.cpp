// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <cstdio>

#include "client/flmctl/tasks.hpp"
#include "client/flmctl/verbs.hpp"
#include "client/tool.hpp"

namespace flame::flmctl {

int run_results(Command& command) {
  auto target = command.target_with_id(Kind::kSession);
  if (!target) return command.fail_usage(target.error());
  ResultsOptions options;
  options.follow = command.options().flag("follow");
  if (auto after = command.options().text("after"); !after.empty())
    options.after = Cursor::parse(after);
  auto session = command.client().open_session(target->id);
  auto stream = session.results(options);
  auto format = *command.format();
  tools::Failures failures;
  // What is there must come; with --follow nobody knows when the next one is done.
  std::chrono::milliseconds time(command.timeout_ms());
  while (auto result = options.follow ? stream.next() : stream.next_for(time)) {
    if (tools::output_failed()) return tools::kExitFailed;  // no cursor behind what is not written
    std::fputs(show_result(*result, format).c_str(), stdout);
    if (options.follow) std::fflush(stdout);
    if (!result->ok()) failures.add(failure_of(*result));
  }
  if (std::fflush(stdout) != 0) return tools::kExitFailed;
  std::fprintf(stderr, "Go on from here: flmctl results %s --after %s\n", session.id().c_str(),
               stream.cursor().to_string().c_str());
  return failures.count() > 0 ? tools::kExitTasksFailed : tools::kExitOk;
}

}  // namespace flame::flmctl

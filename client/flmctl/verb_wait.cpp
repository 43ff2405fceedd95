// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <cstdio>

#include "client/flmctl/tasks.hpp"
#include "client/flmctl/verbs.hpp"
#include "client/terminal.hpp"

namespace flame::flmctl {

namespace {

// Reads results only as far as all failures were seen.
tools::Failures read_failures(Session session, uint64_t count) {
  tools::Failures failures;
  if (count == 0) return failures;
  try {
    auto stream = session.results({.follow = false});
    while (failures.count() < count) {
      auto result = stream.next();
      if (!result) break;
      if (!result->ok() && result->code != flame::Code::kTaskCancelled)
        failures.add(failure_of(*result));
    }
  } catch (const flame::Error& error) {
    // They may be dropped already; the count stands anyway.
    std::fprintf(stderr, "flmctl: the reasons cannot be read: %s\n", error.what());
  }
  return failures;
}

void show_status(const proto::SessionInfo& info, Format format) {
  const auto& c = info.counters;
  if (is_data(format)) {
    std::fputs(show_one(row_of(info), format).c_str(), stdout);
    return;
  }
  std::printf("Session <%s>: %s succeed, %s failed, %s cancelled.\n", info.session.c_str(),
              tools::with_thousands(c.succeed).c_str(), tools::with_thousands(c.failed).c_str(),
              tools::with_thousands(c.cancelled).c_str());
}

}  // namespace

int run_wait(Command& command) {
  auto target = command.target_with_id(Kind::kSession);
  if (!target) return command.fail_usage(target.error());
  auto connection = command.connect();
  if (!connection) return command.fail(connection.error());
  uint64_t timeout_ms = command.options().given("timeout") ? command.timeout_ms() : UINT64_MAX;
  auto info =
      (*connection)
          ->ask<proto::SessionInfo>(
              proto::WaitSession{0, target->id, command.options().flag("closed")}, timeout_ms);
  if (!info && info.error().code == proto::Code::kTimeout) {
    return command.fail(
        {proto::Code::kTimeout,
         "session " + target->id + " is not done yet. See why: flmctl view session " + target->id});
  }
  if (!info) return command.fail(info.error());
  show_status(*info, *command.format());
  if (info->counters.failed == 0) return tools::kExitOk;
  auto session = command.client().open_session(info->session);
  show_failures(read_failures(session, info->counters.failed));
  return tools::kExitTasksFailed;
}

}  // namespace flame::flmctl

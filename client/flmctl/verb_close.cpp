// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// close, delete, unregister, cordon, uncordon, drain, recover: one request, one sentence.

#include <cstdio>

#include "client/flmctl/tasks.hpp"
#include "client/flmctl/verbs.hpp"

namespace flame::flmctl {

namespace {
int say(const Command& command, const std::string& sentence) {
  std::fputs(show_message(sentence, *command.format()).c_str(), stdout);
  return tools::kExitOk;
}

int hold(Command& command, proto::Hold hold) {
  auto target = command.target_with_id(Kind::kExecutor);
  if (!target) return command.fail_usage(target.error());
  auto ok = command.ask<proto::Ok>(proto::HoldExecutor{0, target->id, hold});
  return ok ? say(command, ok->text) : command.fail(ok.error());
}
}  // namespace

int run_close(Command& command) {
  auto target = command.target_with_id(Kind::kSession);
  if (!target) return command.fail_usage(target.error());
  auto info = command.ask<proto::SessionInfo>(proto::CloseSession{0, target->id});
  if (!info) return command.fail(info.error());
  bool closed = info->state == proto::SessionState::kClosed;
  auto format = *command.format();
  if (is_data(format)) {
    std::fputs(show_one(row_of(*info), format).c_str(), stdout);
    return tools::kExitOk;
  }
  return say(command, "Session <" + info->session + "> " +
                          (closed ? "was closed." : "is closing: running tasks finish first."));
}

int run_delete(Command& command) {
  auto target = command.target_with_id(Kind::kSession);
  if (!target) return command.fail_usage(target.error());
  auto ok =
      command.ask<proto::Ok>(proto::DeleteSession{0, target->id, command.options().flag("force")});
  if (!ok) return command.fail(ok.error());
  return say(command, ok->text);  // the whole id, also of `last` and of a prefix
}

int run_unregister(Command& command) {
  auto target = command.target_with_id(Kind::kApplication);
  if (!target) return command.fail_usage(target.error());
  auto ok = command.ask<proto::Ok>(proto::UnregisterApplication{0, target->id});
  if (!ok) return command.fail(ok.error());
  return say(command, "Application <" + target->id + "> was unregistered.");
}

int run_cordon(Command& command) { return hold(command, proto::Hold::kCordoned); }
int run_uncordon(Command& command) { return hold(command, proto::Hold::kNone); }
int run_drain(Command& command) { return hold(command, proto::Hold::kDrained); }

int run_recover(Command& command) {
  auto ok = command.ask<proto::Ok>(proto::Recover{0, command.options().flag("accept-loss")});
  if (!ok) return command.fail(ok.error());
  return say(command, ok->text);
}

}  // namespace flame::flmctl

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// close, delete, unregister, recover: one request, one sentence.

#include <cstdio>

#include "client/flmctl/verbs.hpp"

namespace flame::flmctl {

namespace {
int say(const std::string& sentence) {
  std::puts(sentence.c_str());
  return tools::kExitOk;
}
}  // namespace

int run_close(Command& command) {
  auto target = command.target_with_id(Kind::kSession);
  if (!target) return command.fail_usage(target.error());
  auto info = command.ask<proto::SessionInfo>(proto::CloseSession{0, target->id});
  if (!info) return command.fail(info.error());
  bool closed = info->state == proto::SessionState::kClosed;
  return say("Session <" + info->session + "> " +
             (closed ? "was closed." : "is closing: running tasks finish first."));
}

int run_delete(Command& command) {
  auto target = command.target_with_id(Kind::kSession);
  if (!target) return command.fail_usage(target.error());
  auto ok =
      command.ask<proto::Ok>(proto::DeleteSession{0, target->id, command.options().flag("force")});
  if (!ok) return command.fail(ok.error());
  return say(ok->text);  // the whole id, also of `last` and of a prefix
}

int run_unregister(Command& command) {
  auto target = command.target_with_id(Kind::kApplication);
  if (!target) return command.fail_usage(target.error());
  auto ok = command.ask<proto::Ok>(proto::UnregisterApplication{0, target->id});
  if (!ok && ok.error().code == proto::Code::kNotFound) {
    return command.fail(Command::with_next_step(ok.error(), "flmctl list application shows all"));
  }
  if (!ok) return command.fail(ok.error());
  return say("Application <" + target->id + "> was unregistered.");
}

int run_recover(Command& command) {
  auto ok = command.ask<proto::Ok>(proto::Recover{0, command.options().flag("accept-loss")});
  if (!ok) return command.fail(ok.error());
  return say(ok->text);
}

}  // namespace flame::flmctl

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// `flmctl scale`: what the autoscaler wrote down, passed on by the broker.

#include <unistd.h>

#include <cstdio>

#include "client/flmctl/verbs.hpp"
#include "client/terminal.hpp"
#include "client/tool.hpp"
#include "proto/text.hpp"
#include "runtime/clock.hpp"

namespace flame::flmctl {

using proto::Code;
using proto::Error;

namespace {

/// It writes every five seconds.
constexpr int64_t kSilentMs = 15'000;

const std::vector<Column>& scale_columns() {
  static const std::vector<Column> kColumns = {
      {"App", "application"},       {"Wanted", "wanted"}, {"Asked", "asked"},
      {"Registered", "registered"}, {"Busy", "busy"},     {"Pending", "pending"},
      {"Running", "running"},       {"Reason", "reason"}, {"Text", "text", nullptr, true}};
  return kColumns;
}

Error no_autoscaler() {
  return {Code::kNotFound,
          "no autoscaler has written anything here; flmctl up --autoscale starts one"};
}

// The rows stay when it is killed: a person must not take them for the present.
void warn_if_silent(const proto::List& rows) {
  int64_t updated = 0;
  for (const auto& row : rows) {
    auto value = row.find("updated");
    updated = std::max(updated, value == nullptr ? 0 : value->number());
  }
  int64_t silent_ms = runtime::read_clock().wall_ms() - updated;
  if (silent_ms > kSilentMs) {
    std::fprintf(stderr, "flmctl: the autoscaler has written nothing for %lld s; does it run?\n",
                 static_cast<long long>(silent_ms / 1000));
  }
}

void warn_if_dry(const proto::List& rows) {
  for (const auto& row : rows) {
    auto value = row.find("dry_run");
    auto dry = value == nullptr ? nullptr : std::get_if<bool>(&value->data);
    if (dry == nullptr || !*dry) continue;
    std::fputs("flmctl: the autoscaler runs with --dry-run: nothing of this is done\n", stderr);
    return;
  }
}

int explain_scale(Command& command, const std::string& application) {
  auto listing = command.ask_rows(proto::View{0, "scale", application});
  if (!listing) return command.fail(listing.error());
  if (listing->rows.empty()) return command.fail(no_autoscaler());
  if (*command.format() != Format::kTable) {
    std::fputs(show_rows(listing->rows, scale_columns(), *command.format(), 0).c_str(), stdout);
    return tools::kExitOk;
  }
  for (const auto& decision : listing->rows) {
    auto at = decision.find("at"), reason = decision.find("reason"), text = decision.find("text");
    if (at == nullptr || reason == nullptr || text == nullptr) continue;
    std::printf("%s  %-11s  %s\n", show_time(at->number(), runtime::read_clock().wall_ms()).c_str(),
                proto::printable(show_value(*reason), 20).c_str(),
                proto::printable(show_value(*text), 1000).c_str());
  }
  return tools::kExitOk;
}

}  // namespace

int run_scale(Command& command) {
  const auto& words = command.options().positional();
  if (words.size() == 1 && words[0] == "simulate") return simulate_scale(command);
  if (words.size() == 2 && words[0] == "record") return record_scale(command, words[1]);
  if (!words.empty() && (words[0] != "explain" || words.size() != 2)) {
    return command.fail_usage({Code::kBadRequest,
                               "flmctl scale, flmctl scale explain|record APPLICATION, or "
                               "flmctl scale simulate --trace FILE"});
  }
  if (!words.empty()) return explain_scale(command, words[1]);
  bool watch = command.options().flag("watch");
  tools::Waiter waiter;
  auto terminal = tools::inspect_terminal(STDOUT_FILENO);
  do {
    auto listing = command.ask_rows(proto::ListKind{0, "scale", false});
    if (!listing) return command.fail(listing.error());
    if (listing->rows.empty() && !watch) return command.fail(no_autoscaler());
    std::fputs(show_rows(listing->rows, scale_columns(), *command.format(),
                         terminal.is_terminal ? terminal.width : 0)
                   .c_str(),
               stdout);
    std::fflush(stdout);
    if (!listing->rows.empty()) warn_if_silent(listing->rows);
    warn_if_dry(listing->rows);
  } while (watch && waiter.wait(1000) == 0);
  return tools::kExitOk;
}

}  // namespace flame::flmctl

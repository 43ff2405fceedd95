// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <unistd.h>

#include <cstdio>

#include "client/flmctl/tasks.hpp"
#include "client/flmctl/verbs.hpp"
#include "client/terminal.hpp"
#include "proto/text.hpp"

namespace flame::flmctl {

namespace {

const std::vector<Column>& columns_of(Kind kind) {
  static const std::vector<Column> kSessions = {{"ID", "id"},
                                                {"State", "state"},
                                                {"App", "application"},
                                                {"Slots", "slots"},
                                                {"Pending", "pending"},
                                                {"Running", "running"},
                                                {"Succeed", "succeed"},
                                                {"Failed", "failed"},
                                                {"Cancelled", "cancelled", nullptr, true},
                                                {"Min", "min_instances", nullptr, true},
                                                {"Max", "max_instances", nullptr, true},
                                                {"Priority", "priority", nullptr, true},
                                                {"Batch", "batch_size", nullptr, true},
                                                {"Durability", "durability", nullptr, true},
                                                {"Retention", "retention", nullptr, true},
                                                {"Owner", "owner", nullptr, true},
                                                {"Created", "created", time_cell},
                                                {"Closed", "closed", time_cell, true},
                                                {"Reason", "reason", nullptr, true}};
  static const std::vector<Column> kApplications = {{"Name", "name"},
                                                    {"Shim", "shim"},
                                                    {"Command", "command"},
                                                    {"Arguments", "arguments"},
                                                    {"Labels", "labels", nullptr, true},
                                                    {"Max", "max_instances", nullptr, true},
                                                    {"Attempts", "max_attempts", nullptr, true},
                                                    {"Description", "description", nullptr, true}};
  static const std::vector<Column> kExecutors = {{"ID", "id"},
                                                 {"State", "state"},
                                                 {"Slots", "slots"},
                                                 {"Bound", "bound"},
                                                 {"Tasks", "tasks"},
                                                 {"Sessions", "sessions"},
                                                 {"Address", "address"},
                                                 {"Application", "application", nullptr, true},
                                                 {"Provider", "provider", nullptr, true},
                                                 {"Version", "version", nullptr, true},
                                                 {"Connected", "connected", time_cell, true},
                                                 {"Seen", "seen", time_cell}};
  static const std::vector<Column> kNodes = {
      {"ID", "id"},       {"State", "state"}, {"Executors", "executors"}, {"Slots", "slots"},
      {"Bound", "bound"}, {"Busy", "busy"},   {"Seen", "seen", time_cell}};
  return kind == Kind::kNode          ? kNodes
         : kind == Kind::kApplication ? kApplications
         : kind == Kind::kExecutor    ? kExecutors
                                      : kSessions;
}

// For a person one word: a connected executor that takes nothing new is Cordoned or Drained.
void show_hold_as_state(proto::Value& row) {
  std::string hold{row.text_at("hold")};
  if (hold.empty() || row.text_at("state") != "Connected") return;
  hold[0] = static_cast<char>(hold[0] - 'a' + 'A');
  for (auto& [key, value] : std::get<proto::Map>(row.data)) {
    if (key == "state") value = hold;
  }
}

bool begins_with_id(const proto::Value& row, const std::string& prefix) {
  for (auto key : {"id", "name"}) {
    auto value = row.find(key);
    if (value != nullptr && value->text() != nullptr) return value->text()->starts_with(prefix);
  }
  return false;
}

}  // namespace

int run_list(Command& command) {
  auto target = command.target(Kind::kSession);
  if (!target) return command.fail_usage(target.error());
  if (target->kind == Kind::kTask) return list_tasks(command, *target);
  auto found = command.ask_rows(
      proto::ListKind{0, std::string(name_of(target->kind)), command.options().flag("all")});
  if (!found) return command.fail(found.error());
  std::erase_if(found->rows, [&](const auto& row) { return !begins_with_id(row, target->id); });
  auto terminal = tools::inspect_terminal(STDOUT_FILENO);
  Format format = *command.format();
  bool for_a_person = format == Format::kTable || format == Format::kWide;
  if (for_a_person && target->kind == Kind::kExecutor) {
    for (auto& row : found->rows) show_hold_as_state(row);
  }
  auto text = show_rows(found->rows, columns_of(target->kind), format,
                        terminal.is_terminal ? terminal.width : 0);
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
  if (found->rows.empty() && !target->id.empty()) {
    std::string kind(name_of(target->kind));
    std::fprintf(stderr, "flmctl: no %s begins with '%s'; flmctl list %s shows all\n", kind.c_str(),
                 proto::printable(target->id, 60).c_str(), kind.c_str());
  }
  if (found->cut)
    std::fputs("flmctl: there are more than 10,000; the oldest are not shown\n", stderr);
  return tools::kExitOk;
}

}  // namespace flame::flmctl

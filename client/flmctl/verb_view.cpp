// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <cstdio>

#include "client/flmctl/tasks.hpp"
#include "client/flmctl/verbs.hpp"
#include "runtime/clock.hpp"

namespace flame::flmctl {

using proto::Value;

namespace {

std::string text_of(const Value& row, const char* key) {
  auto value = row.find(key);
  return value == nullptr ? "" : show_value(*value);
}

std::string events_of(const Value& row) {
  std::string out;
  auto events = row.find("events");
  if (events == nullptr || events->list() == nullptr) return out;
  for (const auto& event : *events->list()) {
    auto at = event.find("at_ms");
    int64_t ms = at == nullptr ? 0 : at->number();
    out += "  " + show_time(ms, runtime::read_clock().wall_ms()) + ": " + text_of(event, "text") +
           " (" + text_of(event, "code") + ")\n";
  }
  return out;
}

// The lines that a person looks for first; -o wide shows every field.
std::string show_session(const Value& row) {
  auto line = [](std::string name, const std::string& text) {
    name += ":";
    return name + std::string(16 - name.size(), ' ') + text + "\n";
  };
  auto created = row.find("created");
  std::string out = line("Session", text_of(row, "id"));
  out += line("Application", text_of(row, "application"));
  out += line("State", text_of(row, "state"));
  out += line("Why", text_of(row, "why"));
  out += line("Slots", text_of(row, "slots"));
  auto max = text_of(row, "max_instances");
  out += line("Instances",
              text_of(row, "min_instances") + " to " + (max == "0" ? "as many as there are" : max));
  out += line("Priority", text_of(row, "priority"));
  out += line("Batch Size", text_of(row, "batch_size"));
  out += line("Resources", text_of(row, "resources"));
  out += line("Durability", text_of(row, "durability"));
  out += line("Retention", text_of(row, "retention"));
  out += line("Creation Time", show_time(created == nullptr ? 0 : created->number(),
                                         runtime::read_clock().wall_ms()));
  out += line("Tasks", text_of(row, "pending") + " pending, " + text_of(row, "running") +
                           " running, " + text_of(row, "succeed") + " succeed, " +
                           text_of(row, "failed") + " failed, " + text_of(row, "cancelled") +
                           " cancelled");
  return out + "Events:\n" + events_of(row);
}

}  // namespace

int run_view(Command& command) {
  auto target = command.target_with_id(Kind::kSession);
  if (!target) return command.fail_usage(target.error());
  if (target->kind == Kind::kTask) return view_task(command, *target);
  auto found = command.ask_rows(proto::View{0, std::string(name_of(target->kind)), target->id});
  if (!found) return command.fail(found.error());
  Value row = found->rows.empty() ? Value(proto::Map{}) : found->rows.front();
  auto format = *command.format();
  bool short_form = format == Format::kTable && target->kind == Kind::kSession;
  std::fputs((short_form ? show_session(row) : show_one(row, format)).c_str(), stdout);
  return tools::kExitOk;
}

}  // namespace flame::flmctl

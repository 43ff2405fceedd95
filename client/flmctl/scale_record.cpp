// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// `flmctl scale record APPLICATION`: the demand of the past as a trace for `scale simulate`, from
// the sessions that are kept and from what the autoscaler wrote down.

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "client/flmctl/verbs.hpp"

namespace flame::flmctl {

namespace {

constexpr double kUnknownRunSeconds = 1;

double number_at(const proto::Value& row, std::string_view name) {
  auto value = row.find(name);
  return value == nullptr ? 0 : static_cast<double>(value->number());
}

// As the autoscaler knew it when the session ended, or soon after.
double run_seconds(const proto::List& decisions, double until_ms) {
  double run_us = 0;
  for (const auto& decision : decisions) {
    if (number_at(decision, "at") > until_ms && run_us > 0) break;
    run_us = std::max(1.0, number_at(decision, "run_us"));
  }
  return run_us > 0 ? run_us / 1e6 : kUnknownRunSeconds;
}

}  // namespace

int record_scale(Command& command, const std::string& application) {
  auto sessions = command.ask_rows(proto::ListKind{0, "session", true});
  if (!sessions) return command.fail(sessions.error());
  auto decisions = command.ask_rows(proto::View{0, "scale", application});
  if (!decisions) return command.fail(decisions.error());
  std::sort(decisions->rows.begin(), decisions->rows.end(),
            [](const auto& a, const auto& b) { return number_at(a, "at") < number_at(b, "at"); });
  double begin_ms = 0;
  std::string text;
  for (const auto& session : sessions->rows) {  // oldest first
    double created_ms = number_at(session, "created"), closed_ms = number_at(session, "closed");
    double tasks = number_at(session, "tasks");
    if (session.text_at("application") != application || tasks == 0) continue;
    if (begin_ms == 0) begin_ms = created_ms;
    char line[96];
    std::snprintf(line, sizeof line, "%.3f, %.0f, %.6g\n", (created_ms - begin_ms) / 1000, tasks,
                  run_seconds(decisions->rows, closed_ms > 0 ? closed_ms : HUGE_VAL));
    text += line;
  }
  if (text.empty()) {
    return command.fail(
        {proto::Code::kNotFound,
         "no session of '" + application + "' with tasks is kept; flmctl list shows all"});
  }
  std::printf(
      "# Demand of %s: seconds, tasks, seconds a task.\n"
      "# All tasks of a session are taken as coming when it was created; what a task takes is "
      "what\n"
      "# the autoscaler knew in the end (%zu decisions are kept; %.0f s where it knew "
      "nothing).\n%s",
      application.c_str(), decisions->rows.size(), kUnknownRunSeconds, text.c_str());
  return tools::kExitOk;
}

}  // namespace flame::flmctl

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmping/report.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "client/terminal.hpp"

namespace flame::ping {

using tools::show_decimals;
using tools::with_thousands;

namespace {

double seconds(int64_t us) { return static_cast<double>(us) / 1e6; }

double tasks_per_second(const PingRun& run, const Outcome& outcome) {
  return static_cast<double>(run.succeeded() + run.tally().failed()) /
         std::max(1e-6, seconds(outcome.duration_us));
}

std::string busy_line(const PingRun& run, const Outcome& outcome) {
  auto tasks = std::max<uint64_t>(1, run.succeeded());
  double whole = std::max(1e-6, seconds(outcome.duration_us) * static_cast<double>(outcome.slots));
  return "A task took <" +
         show_decimals(seconds(run.in_tasks_us()) * 1000 / static_cast<double>(tasks), 2) +
         " ms> by its service's clock; <" + std::to_string(outcome.slots) + "> slots were busy <" +
         show_decimals(100 * seconds(run.in_tasks_us()) / whole, 1) + "%> of the time.\n";
}

std::string stage_table(const Stages& stages) {
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < kStages.size(); i++) {
    rows.push_back({std::string(kStages[i]), show_decimals(stages.median_ms(i), 3),
                    std::string(kStageMeanings[i])});
  }
  rows.push_back({"first_bind", show_decimals(stages.first_bind_ms(), 3),
                  "once: until the first service was bound"});
  return tools::format_table({"Stage", "Median ms", "What"}, rows);
}

std::string perf_block(const Settings& settings, const PingRun& run, const Outcome& outcome) {
  std::string line(60, '=');
  auto p = run.latencies().percentiles();
  std::string out = line + "\nBENCHMARK RESULTS\n" + line + "\n";
  out += "Duration: " + show_decimals(seconds(outcome.duration_us), 2) + "s\n";
  out +=
      "Succeeded: " + with_thousands(run.succeeded()) + "/" + with_thousands(settings.tasks) + "\n";
  out += "Failed: " + with_thousands(run.tally().failed()) + "\n";
  out += "Throughput: " + with_thousands(static_cast<uint64_t>(tasks_per_second(run, outcome))) +
         " tasks/sec\n";
  out += "Latency: p50 " + show_decimals(p.p50, 3) + " ms, p90 " + show_decimals(p.p90, 3) +
         " ms, p99 " + show_decimals(p.p99, 3) + " ms, max " + show_decimals(p.max, 3) + " ms\n";
  if (!run.stages().empty()) out += "\n" + stage_table(run.stages());
  return out + line + "\n";
}

}  // namespace

std::string created_line(const Outcome& outcome, uint64_t tasks) {
  return "Session <" + outcome.session + "> was created in <" +
         tools::show_whole_ms(outcome.setup_us) + ">, start to run <" + with_thousands(tasks) +
         "> tasks in the session:\n";
}

std::string show_text(const Settings& settings, const PingRun& run, const Outcome& outcome) {
  const Tally& tally = run.tally();
  std::string out = "<" + with_thousands(run.succeeded() + tally.failed()) +
                    "> tasks was completed in <" + tools::show_whole_ms(outcome.duration_us) +
                    ">.\n";
  if (run.in_tasks_us() > 0) out += busy_line(run, outcome);
  if (tally.failed() > 0) {
    out += "<" + with_thousands(tally.failed()) + "> tasks failed:\n" + tally.failures().show();
  }
  if (tally.duplicates() > 0) {
    out += "<" + with_thousands(tally.duplicates()) + "> results came more than once: a bug.\n";
  }
  if (tally.lost() > 0) {
    out += "<" + with_thousands(tally.lost()) +
           "> acknowledged tasks were lost by the store and run again.\n";
  }
  if (settings.latency) {
    auto p = run.latencies().percentiles();
    out += "Round trip: p50 " + show_decimals(p.p50, 3) + " ms, p90 " + show_decimals(p.p90, 3) +
           " ms, p99 " + show_decimals(p.p99, 3) + " ms, max " + show_decimals(p.max, 3) + " ms\n";
  }
  if (settings.perf) out += perf_block(settings, run, outcome);
  return out;
}

std::string show_json(const Settings& settings, const PingRun& run, const Outcome& outcome) {
  const Tally& tally = run.tally();
  auto p = run.latencies().percentiles();
  nlohmann::ordered_json stages = nlohmann::ordered_json::object();
  if (!run.stages().empty()) {
    for (size_t i = 0; i < kStages.size(); i++) {
      stages[std::string(kStages[i])] = run.stages().median_ms(i);
    }
    stages["first_bind"] = run.stages().first_bind_ms();
  }
  nlohmann::ordered_json json = {
      {"session", outcome.session},
      {"tasks", settings.tasks},
      {"succeeded", run.succeeded()},
      {"failed", tally.failed()},
      {"duplicates", tally.duplicates()},
      {"retried", tally.retried()},
      {"lost", tally.lost()},
      {"seconds", seconds(outcome.duration_us)},
      {"setup_seconds", seconds(outcome.setup_us)},
      {"tasks_per_second", tasks_per_second(run, outcome)},
      {"in_tasks_seconds", seconds(run.in_tasks_us())},
      {"latency_ms", {{"p50", p.p50}, {"p90", p.p90}, {"p99", p.p99}, {"max", p.max}}},
      {"input_size", settings.input_size},
      {"output_size", settings.output_size},
      {"shim", settings.shim},
      {"durability", std::string(proto::name_of(settings.durability))},
      {"executors", outcome.executors},
      {"slots", outcome.slots},
      {"stages", stages},
      {"version", FLAME_VERSION}};
  return json.dump(2) + "\n";
}

}  // namespace flame::ping

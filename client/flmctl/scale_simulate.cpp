// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// `flmctl scale simulate`: demand of the past, or made up, against the policy with other numbers,
// beside what Kubernetes users have instead and an oracle. Asks no broker.

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <fstream>

#include "autoscaler/replay/choosers.hpp"
#include "autoscaler/replay/plot.hpp"
#include "client/flmctl/files.hpp"
#include "client/flmctl/verbs.hpp"
#include "client/terminal.hpp"
#include "proto/text.hpp"

namespace flame::flmctl {

using autoscaler::Outcome;
using proto::Code;
using proto::Error;

namespace {

constexpr uint64_t kTraceBytesMax = uint64_t{64} << 20;
constexpr uint64_t kExecutorsMax = 100'000, kSlotsMax = 4096;
constexpr size_t kPlotWidth = 78, kPlotHeight = 8;

struct Question {
  autoscaler::Ground ground;
  autoscaler::Policy policy;
  autoscaler::Trace trace;
  std::string name;
};

proto::Status read_numbers(const runtime::Options& options, Question& question) {
  auto max = options.number("max", 1, kExecutorsMax);
  if (!max) return max.error();
  auto min = options.number("min", 0, *max);
  if (!min) return min.error();
  question.policy.cluster_min = *min;
  auto slots = options.number("slots", 1, kSlotsMax);
  if (!slots) return slots.error();
  question.ground.max = question.policy.cluster_max = *max;
  question.ground.slots = question.policy.slots = *slots;
  struct Row {
    const char* name;
    int64_t& out;
  };
  for (const auto& row : {Row{"cold-start", question.ground.cold_start_us},
                          Row{"target-drain", question.policy.target_drain_us},
                          Row{"idle-after", question.policy.idle_after_us},
                          Row{"stabilization", question.policy.stabilization_us}}) {
    auto ms = options.duration_ms(row.name);
    if (!ms) return ms.error();
    row.out = std::max<int64_t>(1, static_cast<int64_t>(*ms)) * proto::kUsPerMs;
  }
  // One that comes later than this would count as failed.
  question.policy.start_deadline_us =
      std::max(question.policy.start_deadline_us, 2 * question.ground.cold_start_us);
  return {};
}

// "bursty", "bursty:7" or a file.
proto::Status read_demand(const runtime::Options& options, Question& question) {
  std::string text = question.name = options.text("trace");
  auto hours = options.number("hours", 1, 24 * 366);
  if (!hours) return hours.error();
  auto colon = std::min(text.find(':'), text.size());
  for (auto kind : autoscaler::kEveryDemands) {
    if (autoscaler::name_of(kind) != std::string_view(text).substr(0, colon)) continue;
    auto seed = colon == text.size()
                    ? std::optional<uint64_t>(1)
                    : proto::parse_number<uint64_t>(std::string_view(text).substr(colon + 1));
    if (!seed) return Error{Code::kBadRequest, "--trace " + text + ": the seed is a number"};
    question.trace = autoscaler::make_trace(
        kind, *seed, static_cast<int64_t>(*hours) * 3600 * proto::kUsPerSecond,
        question.policy.idle_after_us + 1);
    if (!question.trace.empty()) return {};
    return Error{Code::kBadRequest, "nothing comes within --hours " + options.text("hours")};
  }
  if (text.empty()) {
    return Error{Code::kBadRequest,
                 "--trace FILE with lines `seconds, tasks, seconds a task`, or one of bursty, "
                 "periodic, long-tailed, adversarial and idle, with :SEED"};
  }
  auto file = read_file(text, kTraceBytesMax);
  if (!file) return file.error();
  auto trace = autoscaler::read_trace(*file);
  if (!trace) return Error{trace.error().code, text + ": " + trace.error().message};
  question.trace = std::move(*trace);
  return {};
}

std::vector<Outcome> answer(const Question& question) {
  const auto& ground = question.ground;
  int64_t window_us = question.policy.stabilization_us;
  autoscaler::OurPolicy ours(question.policy);
  autoscaler::KedaList keda(ground.max);
  autoscaler::CpuAutoscaler cpu(ground.max, ground.slots);
  std::vector<Outcome> outcomes;
  outcomes.push_back(play(question.trace, ground, ours, "flame", window_us));
  outcomes.push_back(play(question.trace, ground, keda, "keda, list of 5", window_us));
  outcomes.push_back(play(question.trace, ground, cpu, "hpa, cpu 80 %", window_us));
  outcomes.push_back(autoscaler::play_oracle(question.trace, ground));
  return outcomes;
}

double rounded(double value) { return std::round(value * 100) / 100; }

proto::List rows_of(const std::vector<Outcome>& outcomes) {
  proto::List rows;
  for (const auto& outcome : outcomes) {
    rows.push_back(proto::Map{{"policy", outcome.name},
                              {"tasks", outcome.tasks},
                              {"executor_seconds", static_cast<int64_t>(outcome.executor_seconds)},
                              {"starts", outcome.starts},
                              {"wait_mean_seconds", rounded(outcome.wait_mean_s)},
                              {"wait_p50_seconds", rounded(outcome.wait_p50_s)},
                              {"wait_p99_seconds", rounded(outcome.wait_p99_s)},
                              {"wait_max_seconds", rounded(outcome.wait_max_s)},
                              {"killed", outcome.killed},
                              {"flaps", outcome.flaps}});
  }
  return rows;
}

const std::vector<Column>& columns() {
  static const std::vector<Column> kColumns = {{"Policy", "policy"},
                                               {"Executor-s", "executor_seconds"},
                                               {"Starts", "starts"},
                                               {"Wait", "wait_mean_seconds"},
                                               {"p50", "wait_p50_seconds"},
                                               {"p99", "wait_p99_seconds"},
                                               {"Longest", "wait_max_seconds"},
                                               {"Killed", "killed"},
                                               {"Flaps", "flaps", nullptr, true}};
  return kColumns;
}

void explain(const Question& question, const Outcome& ours) {
  double work_s = 0;
  for (const auto& arrival : question.trace)
    work_s += static_cast<double>(arrival.tasks) * static_cast<double>(arrival.run_us) / 1e6;
  std::printf(
      "\nTrace %s: %llu tasks, %.0f s of work in %s; executors of %llu slots start in %.3g s.\n"
      "Waiting in seconds until a task begins. Killed: tasks that were running on an\n"
      "executor that was taken away. The oracle knows all run times.\n\nflame, executors:\n%s",
      proto::printable(question.name, 60).c_str(), static_cast<unsigned long long>(ours.tasks),
      work_s, autoscaler::time_text(question.trace.back().at_us).c_str(),
      static_cast<unsigned long long>(question.ground.slots),
      static_cast<double>(question.ground.cold_start_us) / 1e6,
      text_plot(ours, kPlotWidth, kPlotHeight).c_str());
}

}  // namespace

std::vector<runtime::OptionRow> simulate_options() {
  return {{"trace", 0, "FILE", "", "simulate: lines `seconds, tasks, seconds a task`; or a kind"},
          {"max", 0, "N", "200", "simulate: executors at most"},
          {"min", 0, "N", "0", "simulate: executors that are always there"},
          {"slots", 0, "N", "1", "simulate: slots of an executor"},
          {"cold-start", 0, "TIME", "5s", "simulate: from asked to serving"},
          {"target-drain", 0, "TIME", "10s", "simulate: as of flame-autoscaler"},
          {"idle-after", 0, "TIME", "60s", "simulate: as of flame-autoscaler"},
          {"stabilization", 0, "TIME", "60s", "simulate: as of flame-autoscaler"},
          {"hours", 0, "N", "24", "simulate: length of a demand that is made up"},
          {"svg", 0, "FILE", "", "simulate: also draws the executors into FILE"}};
}

int simulate_scale(Command& command) {
  const auto& options = command.options();
  auto format = command.format();
  if (!format) return command.fail_usage(format.error());
  Question question;
  if (auto status = read_numbers(options, question); !status)
    return command.fail_usage(status.error());
  if (auto status = read_demand(options, question); !status)
    return command.fail_usage(status.error());
  auto outcomes = answer(question);
  auto rows = rows_of(outcomes);
  std::fputs(show_rows(rows, columns(), *format, 0).c_str(), stdout);
  if (*format == Format::kTable || *format == Format::kWide) explain(question, outcomes[0]);
  if (auto path = options.text("svg"); !path.empty()) {
    std::ofstream file(path);
    file << svg_plot(outcomes);
    file.close();
    if (!file) return command.fail({Code::kSystem, "cannot write " + path});
  }
  return tools::kExitOk;
}

}  // namespace flame::flmctl

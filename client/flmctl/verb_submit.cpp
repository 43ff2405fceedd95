// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <cstdio>
#include <iostream>

#include "client/flmctl/tasks.hpp"
#include "client/flmctl/verbs.hpp"
#include "proto/run.hpp"

namespace flame::flmctl {

namespace {

/// Fills runs and hands the full ones on.
class Submitter {
 public:
  explicit Submitter(Session session) : session_(std::move(session)) {}
  void add(std::string_view input) {
    if (run_.add(input)) return;
    session_.submit_run(std::move(run_));
    run_ = Run();
    run_.add(input);
  }
  std::vector<TaskRange> finish() {
    session_.submit_run(std::move(run_));
    return session_.flush();
  }

 private:
  Session session_;
  Run run_;
};

std::vector<TaskRange> submit_inputs(Session session, const std::vector<std::string>& inputs) {
  Submitter submitter(std::move(session));
  bool from_stdin = inputs.empty() || (inputs.size() == 1 && inputs.front() == "-");
  if (from_stdin) {
    for (std::string line; std::getline(std::cin, line);) submitter.add(line);
  } else {
    for (const auto& input : inputs) submitter.add(input);
  }
  return submitter.finish();
}

void show_ids(const std::string& session, const std::vector<TaskRange>& ranges, Format format) {
  proto::List runs;
  uint64_t tasks = 0;
  for (const auto& range : ranges) {
    runs.push_back(to_string(proto::Run{range.first, range.count}));
    tasks += range.count;
  }
  if (format == Format::kJson) {
    std::fputs(
        to_json_line(proto::Map{{"session", session}, {"tasks", tasks}, {"ids", runs}}).c_str(),
        stdout);
  } else {
    for (const auto& run : runs) std::puts(run.text()->c_str());
  }
  std::fflush(stdout);
}

int wait_for_results(Command& command, ResultStream stream, const std::vector<TaskRange>& ranges) {
  uint64_t missing = 0;
  for (const auto& range : ranges) missing += range.count;
  auto ours = [&ranges](uint64_t task) {
    for (const auto& range : ranges) {
      if (task >= range.first && task < range.first + range.count) return true;
    }
    return false;
  };
  tools::Failures failures;
  std::chrono::milliseconds timeout(command.options().given("timeout") ? command.timeout_ms() : 0);
  while (missing > 0) {
    auto result = timeout.count() > 0 ? stream.next_for(timeout) : stream.next();
    if (!result) break;
    if (!ours(result->task)) continue;
    missing--;
    std::fputs(show_result(*result, *command.format()).c_str(), stdout);
    if (!result->ok()) failures.add(failure_of(*result));
  }
  std::fflush(stdout);
  show_failures(failures);
  return failures.count() > 0 ? tools::kExitTasksFailed : tools::kExitOk;
}

}  // namespace

int run_submit(Command& command) {
  auto target = command.target_with_id(Kind::kSession);
  if (!target) return command.fail_usage(target.error());
  auto session = command.client().open_session(target->id);
  bool wait = command.options().flag("wait");
  std::optional<ResultStream> stream;
  if (wait) stream = session.results({.only_new = true});
  auto ranges = submit_inputs(session, target->rest);
  show_ids(session.id(), ranges, *command.format());
  return wait ? wait_for_results(command, std::move(*stream), ranges) : int{tools::kExitOk};
}

}  // namespace flame::flmctl

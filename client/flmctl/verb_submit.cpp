// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "client/flmctl/stdin_feed.hpp"
#include "client/flmctl/tasks.hpp"
#include "client/flmctl/verbs.hpp"
#include "client/terminal.hpp"
#include "proto/run.hpp"

namespace flame::flmctl {

namespace {

/// What is acknowledged of a submit is looked for so often while a signal may come, and so often
/// more after one came.
constexpr std::chrono::milliseconds kLook{100};
constexpr int kLastLooks = 20;

uint64_t tasks_of(const std::vector<TaskRange>& ranges) {
  uint64_t tasks = 0;
  for (const auto& range : ranges) tasks += range.count;
  return tasks;
}

void show_ids(const std::string& session, const std::vector<TaskRange>& ranges, Format format) {
  proto::List runs;
  uint64_t tasks = tasks_of(ranges);
  for (const auto& range : ranges) runs.push_back(to_string(proto::Run{range.first, range.count}));
  if (is_data(format)) {
    proto::Map row = {{"session", session}, {"tasks", tasks}, {"ids", runs}};
    std::fputs(show_item(row, format).c_str(), stdout);
  } else {
    for (const auto& run : runs) std::puts(run.text()->c_str());
  }
  std::fflush(stdout);
}

int wait_for_results(Command& command, ResultStream stream, const std::vector<TaskRange>& ranges) {
  uint64_t missing = tasks_of(ranges);
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

/// Of a submit: false if it has to go on waiting.
bool all_answered(Session& session, std::vector<TaskRange>& ranges) {
  try {
    ranges = session.flush(kLook);
    return true;
  } catch (const flame::Error& error) {
    if (error.code() != flame::Code::kTimeout) throw;
    return false;
  }
}

// The thread that reads may sit in a read that never returns: nothing is torn down under it.
[[noreturn]] void end_interrupted(StdinFeed& feed, int signal, const std::vector<TaskRange>& ranges,
                                  Format format) {
  if (feed.session() != nullptr) show_ids(feed.session()->id(), ranges, format);
  uint64_t taken = tasks_of(ranges), sent = feed.sent();
  std::string more = sent <= taken ? ""
                                   : "; " + tools::with_thousands(sent - taken) +
                                         " more were sent, have no answer, and may be taken too";
  std::fprintf(stderr, "flmctl: interrupted: %s lines were taken%s\n",
               tools::with_thousands(taken).c_str(), more.c_str());
  feed.join_if_ended();
  _exit(tools::finish("flmctl", 128 + signal));
}

/// What the feed sent, all of it acknowledged within `patience` of its end. Ends the process if a
/// signal comes first.
std::vector<TaskRange> take_stdin(tools::Waiter& waiter, StdinFeed& feed,
                                  std::chrono::milliseconds patience, Format format) {
  int signal = 0;
  while (signal == 0 && !feed.ended()) signal = waiter.wait(kLook.count());
  if (signal == 0) feed.rethrow();
  std::vector<TaskRange> ranges;
  bool all = feed.session() == nullptr;
  for (int looks = kLastLooks; !all && looks > 0; looks -= signal != 0) {
    if (signal != 0) feed.stop();
    all = all_answered(*feed.session(), ranges);
    if (all && signal == 0) return ranges;
    patience -= std::min(kLook, patience);
    if (patience.count() == 0 && signal == 0) return feed.session()->flush(patience);
    int another = waiter.wait(0);
    if (another != 0 && signal != 0) break;
    if (signal == 0) signal = another;
  }
  if (!all) ranges = feed.session()->acknowledged();
  end_interrupted(feed, signal, ranges, format);
}

/// What was given on the command line. What is acknowledged is shown also where the rest is not.
std::vector<TaskRange> take_words(Session& session, const std::vector<std::string>& inputs,
                                  std::chrono::milliseconds patience, Format format) {
  Submitter submitter(session);
  for (const auto& input : inputs) submitter.add(input);
  submitter.hand_on();
  try {
    return session.flush(patience);
  } catch (const flame::Error&) {
    if (auto taken = session.acknowledged(); !taken.empty()) show_ids(session.id(), taken, format);
    throw;
  }
}

}  // namespace

int run_submit(Command& command) {
  auto target = command.target_with_id(Kind::kSession);
  if (!target) return command.fail_usage(target.error());
  const auto& inputs = target->rest;
  bool from_stdin = inputs.empty() || (inputs.size() == 1 && inputs.front() == "-");
  bool wait = command.options().flag("wait");
  Session session;
  std::optional<ResultStream> stream;
  auto open = [&] {
    session = command.client().open_session(target->id);
    if (wait) stream = session.results({.only_new = true});
    return session;
  };
  auto patience = std::chrono::milliseconds::max();
  if (command.options().given("timeout") && command.timeout_ms() > 0)
    patience = std::chrono::milliseconds(command.timeout_ms());
  std::vector<TaskRange> ranges;
  if (from_stdin) {
    tools::Waiter waiter;
    StdinFeed feed(waiter, open);
    try {
      ranges = take_stdin(waiter, feed, patience, *command.format());
    } catch (const flame::Error&) {
      if (auto* opened = feed.session())
        show_ids(opened->id(), opened->acknowledged(), *command.format());
      throw;
    }
    waiter.release();
  } else {
    open();
    ranges = take_words(session, inputs, patience, *command.format());
  }
  show_ids(session.id(), ranges, *command.format());
  return wait ? wait_for_results(command, std::move(*stream), ranges) : int{tools::kExitOk};
}

}  // namespace flame::flmctl

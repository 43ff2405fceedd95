// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmping/ping.hpp"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <optional>

#include "client/flmping/ping_run.hpp"
#include "client/flmping/report.hpp"
#include "client/terminal.hpp"
#include "client/tool.hpp"
#include "proto/rows.hpp"
#include "runtime/clock.hpp"

namespace flame::ping {

using client::Connection;
using proto::Code;
using proto::Error;

namespace {

constexpr uint64_t kRequestMs = 30'000;
constexpr uint64_t kCloseMs = 3'000;  ///< whoever interrupts has waited enough
constexpr uint64_t kLookMs = 100;
constexpr int64_t kLineEveryUs = 10 * proto::kUsPerSecond;

int64_t mono_us() { return runtime::read_clock().mono_us; }

/// The bar on a terminal, else one line every ten seconds; to stderr, since stdout may be read by a
/// program.
class Progress {
 public:
  explicit Progress(uint64_t total)
      : total_(total),
        terminal_(tools::inspect_terminal(STDERR_FILENO)),
        line_at_us_(mono_us() + kLineEveryUs) {}

  void show(uint64_t done) {
    if (terminal_.is_terminal) {
      drawn_ = true;
      std::fprintf(stderr, "\r%s", tools::progress_bar(done, total_, terminal_.width - 1).c_str());
    } else if (mono_us() >= line_at_us_) {
      line_at_us_ = mono_us() + kLineEveryUs;
      std::fprintf(stderr, "%s of %s tasks\n", tools::with_thousands(done).c_str(),
                   tools::with_thousands(total_).c_str());
    }
  }
  void finish(uint64_t done) {
    if (terminal_.is_terminal) show(done);
    if (drawn_) std::fputc('\n', stderr);
  }

 private:
  uint64_t total_;
  tools::Terminal terminal_;
  int64_t line_at_us_;
  bool drawn_ = false;
};

proto::CreateSession create_message(const Settings& settings) {
  proto::CreateSession message;
  message.spec.application = application_of(settings);
  message.spec.priority = settings.priority;
  message.spec.durability = settings.durability;
  message.spec.retention = "read";  // flmping is the only reader; nothing is left behind
  message.spec.resources = settings.resources;
  message.payload = proto::Bytes::own(common_data_of(settings));
  return message;
}

/// Nothing, or why the wait ended before the run did.
std::optional<Error> wait_for(PingRun& run, const std::atomic<bool>& ended, tools::Waiter& waiter,
                              const Settings& settings, Progress& progress) {
  uint64_t last = 0;
  int64_t last_us = mono_us();
  while (!ended) {
    if (waiter.wait(kLookMs) != 0) return Error{Code::kInterrupted, "interrupted"};
    uint64_t received = run.received();
    if (received != last) last = received, last_us = mono_us();
    bool silent = mono_us() - last_us > static_cast<int64_t>(settings.timeout_ms) * proto::kUsPerMs;
    if (settings.timeout_ms > 0 && silent) {
      return Error{
          Code::kTimeout,
          "no task finished for " + tools::show_duration(mono_us() - last_us) + " (" +
              tools::with_thousands(received) + " of " + tools::with_thousands(settings.tasks) +
              " are done). Look for the reason: flmctl list executor; flmctl view session last"};
    }
    progress.show(received);
  }
  return run.error();
}

/// A thread may still wait inside the connection: nothing is taken down that it uses.
[[noreturn]] void leave_at_once(const std::string& why) {
  int code = tools::fail("flmping", Error{Code::kInterrupted, why});
  std::fflush(nullptr);
  std::_Exit(code);
}

/// The answer to what is asked of the connection. A signal ends the process, saying `interrupted`.
template <class Ask>
auto until_signal(Connection& connection, tools::Waiter& waiter, const std::string& interrupted,
                  Ask ask) {
  std::optional<decltype(ask(connection))> answer;
  std::atomic<bool> answered{false};
  auto asking = std::async(std::launch::async, [&] {
    answer = ask(connection);
    answered = true;  // before the waiter is told: the future is ready only after it
    waiter.notify();
  });
  while (!answered) {
    if (waiter.wait(kLookMs) != 0) leave_at_once(interrupted);
  }
  asking.wait();
  return std::move(*answer);
}

proto::Result<proto::SessionInfo> close(Connection& connection, const Outcome& outcome,
                                        bool stopped, tools::Waiter& waiter) {
  if (stopped) {
    std::fprintf(stderr,
                 "flmping: closing session %s, for at most %s; another signal ends at once\n",
                 outcome.session.c_str(), tools::show_duration(kCloseMs * 1000).c_str());
  }
  return until_signal(connection, waiter,
                      "interrupted; session " + outcome.session + " is still open",
                      [&](Connection& to) {
                        return to.ask<proto::SessionInfo>(proto::CloseSession{0, outcome.session},
                                                          stopped ? kCloseMs : kRequestMs);
                      });
}

void count_executors(Connection& connection, Outcome& outcome) {
  auto listing = connection.ask<proto::Listing>(proto::ListKind{0, "executor", false}, kRequestMs);
  if (!listing) return;  // only shown; the run itself is over
  auto rows = proto::decode_rows(listing->payload.view());
  if (!rows) return;
  outcome.executors = rows->size();
  for (const auto& row : *rows) {
    if (auto slots = row.find("slots")) outcome.slots += static_cast<uint64_t>(slots->number());
  }
}

int finish(const Settings& settings, const PingRun& run, const Outcome& outcome) {
  auto text = settings.json ? show_json(settings, run, outcome) : show_text(settings, run, outcome);
  std::fputs(text.c_str(), stdout);
  if (run.tally().duplicates() > 0) return tools::kExitFailed;
  return run.tally().failed() > 0 ? tools::kExitTasksFailed : tools::kExitOk;
}

}  // namespace

int run(const Settings& settings) {
  tools::Waiter waiter;
  auto connected = tools::connect_to_broker("flmping", settings.endpoint, settings.cluster);
  if (!connected) return tools::fail("flmping", connected.error());
  std::atomic<bool> ended{false};
  auto ping = std::make_shared<PingRun>(settings, [&] {
    ended = true;
    waiter.notify();
  });
  // Destroyed before `ping` and what it refers to: the I/O thread ends first.
  auto connection = std::move(*connected);

  int64_t from_us = mono_us();
  auto opened = until_signal(*connection, waiter, "interrupted before the session was created",
                             [&](Connection& to) {
                               return to.create_session(create_message(settings), ping, kRequestMs);
                             });
  if (!opened) return tools::fail("flmping", opened.error());
  Outcome outcome{opened->info.session, mono_us() - from_us};
  auto uid = opened->info.uid;
  connection->watch(uid, 0, outcome.session);
  connection->wake(uid);
  if (!settings.json) {
    std::fputs(created_line(outcome, settings.tasks).c_str(), stdout);
    std::fflush(stdout);
  }
  Progress progress(settings.tasks);
  auto stopped = wait_for(*ping, ended, waiter, settings, progress);
  if (!settings.json || stopped) progress.finish(std::min(ping->received(), settings.tasks));

  auto closed = close(*connection, outcome, stopped.has_value(), waiter);
  if (!stopped) count_executors(*connection, outcome);
  connection.reset();
  if (stopped) {
    bool ends = closed && closed->state != proto::SessionState::kClosed;  // what runs is finished
    stopped->message += "; session " + outcome.session +
                        (!closed ? " is still open: " + closed.error().message
                         : ends  ? " is closing"
                                 : " is closed");
    return tools::fail("flmping", *stopped);
  }
  outcome.duration_us = ping->duration_us();
  return finish(settings, *ping, outcome);
}

}  // namespace flame::ping

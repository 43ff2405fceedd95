// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmping/ping.hpp"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <future>
#include <optional>

#include "client/flmping/ping_run.hpp"
#include "client/flmping/report.hpp"
#include "client/terminal.hpp"
#include "client/tool.hpp"
#include "runtime/clock.hpp"

namespace flame::ping {

using client::Connection;
using proto::Code;
using proto::Error;

namespace {

constexpr uint64_t kRequestMs = 30'000;
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

/// Creates the session; a signal ends the wait for it too.
proto::Result<Connection::Opened> create(std::unique_ptr<Connection>& connection,
                                         const Settings& settings,
                                         const std::shared_ptr<PingRun>& ping,
                                         tools::Waiter& waiter) {
  std::optional<proto::Result<Connection::Opened>> opened;
  std::atomic<bool> answered{false};
  auto asking = std::async(std::launch::async, [&, to = connection.get()] {
    opened = to->create_session(create_message(settings), ping, kRequestMs);
    answered = true;  // before the waiter is told: the future is ready only after it
    waiter.notify();
  });
  while (!answered) {
    if (waiter.wait(kLookMs) == 0) continue;
    connection.reset();  // what it waits for is answered `interrupted`
    asking.wait();
    return Error{Code::kInterrupted, "interrupted before the session was created"};
  }
  asking.wait();
  return std::move(*opened);
}

void count_executors(Connection& connection, Outcome& outcome) {
  auto listing = connection.ask<proto::Listing>(proto::ListKind{0, "executor", false}, kRequestMs);
  if (!listing) return;  // only shown; the run itself is over
  outcome.executors = listing->rows.size();
  for (const auto& row : listing->rows) {
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
  auto connected = tools::connect_to_broker("flmping", settings.endpoint);
  if (!connected) return tools::fail("flmping", connected.error());
  std::atomic<bool> ended{false};
  auto ping = std::make_shared<PingRun>(settings, [&] {
    ended = true;
    waiter.notify();
  });
  // Destroyed before `ping` and what it refers to: the I/O thread ends first.
  auto connection = std::move(*connected);

  int64_t from_us = mono_us();
  auto opened = create(connection, settings, ping, waiter);
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

  auto closed =
      connection->ask<proto::SessionInfo>(proto::CloseSession{0, outcome.session}, kRequestMs);
  if (!stopped) count_executors(*connection, outcome);
  connection.reset();
  if (stopped) {
    stopped->message +=
        closed ? "; session " + outcome.session + " is closed"
               : "; session " + outcome.session + " is still open: " + closed.error().message;
    return tools::fail("flmping", *stopped);
  }
  outcome.duration_us = ping->duration_us();
  return finish(settings, *ping, outcome);
}

}  // namespace flame::ping

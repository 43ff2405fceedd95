// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// flame-bench-load: what flmping does not do, because nobody but a bench wants it. Many sessions at
// once over one connection, or tasks that are only queued, in runs of a chosen size. Prints one
// JSON object.

#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "client/tool.hpp"
#include "proto/elements.hpp"
#include "runtime/clock.hpp"
#include "runtime/options.hpp"

namespace flame::bench {

namespace {

using client::Connection;
using proto::Code;
using proto::Error;

constexpr uint64_t kRequestMs = 60'000;

struct Settings {
  std::string endpoint, application;
  uint64_t sessions = 1, tasks = 0, run = 1024, size = 64, timeout_ms = 0;
  bool queue = false;  ///< done when all are acknowledged; the sessions stay open
  bool alone =
      false;  ///< a submit only after the answer to the one before, so that runs are not joined
};

/// Touched by the I/O thread; `left` counts the sessions that are not done.
struct Shared {
  tools::Waiter& waiter;
  std::atomic<uint64_t> left{0};
  std::atomic<int64_t> last_us{0};
  std::atomic<uint64_t> progress{0};
  std::atomic<bool> failed{false};
  Error error;

  void done() {
    last_us = runtime::read_clock().mono_us;
    if (--left == 0) waiter.notify();
  }
  void fail(const Error& why) {
    if (failed.exchange(true)) return;
    error = why;
    waiter.notify();
  }
};

class Load : public client::SessionListener {
 public:
  Load(const Settings& settings, uint64_t tasks, const proto::Bytes& inputs, Shared& shared)
      : settings_(settings), tasks_(tasks), inputs_(inputs), shared_(shared) {}

  std::optional<client::OutgoingRun> next_run() override {
    if (given_ == tasks_ || (settings_.alone && given_ > acknowledged_)) return std::nullopt;
    uint64_t count = std::min(settings_.run, tasks_ - given_);
    given_ += count;
    return client::OutgoingRun{
        given_, count, inputs_.slice(0, count * proto::element_size(settings_.size)), false};
  }
  void on_submitted(uint64_t, const proto::Run& run, proto::Durability) override {
    acknowledged_ += run.count;
    shared_.progress += run.count;
    if (settings_.queue && acknowledged_ == tasks_) shared_.done();
  }
  bool on_results(proto::Results&& results) override {
    finished_ += results.run.count;
    shared_.progress += results.run.count;
    if (!results.exceptions.empty())
      shared_.fail({Code::kTaskFailed, results.exceptions[0].reason});
    if (finished_ == tasks_) shared_.done();
    return true;
  }
  void on_submit_failed(uint64_t, const Error& error) override { shared_.fail(error); }
  void on_watch_failed(const Error& error) override { shared_.fail(error); }

 private:
  const Settings& settings_;
  const uint64_t tasks_;
  proto::Bytes inputs_;
  Shared& shared_;
  uint64_t given_ = 0, acknowledged_ = 0, finished_ = 0;
};

proto::Result<Settings> parse(int argc, char** argv) {
  static const std::vector<runtime::OptionRow> kRows = {
      {"endpoint", 0, "URL", "", "broker; default: FLAME_ENDPOINT, else the local cluster"},
      {"application", 0, "NAME", "flmping", "of the sessions"},
      {"sessions", 0, "N", "1", "how many at once"},
      {"task-num", 't', "N", "1000000", "in all sessions together"},
      {"run", 0, "N", "1024", "tasks in a submit"},
      {"input-size", 0, "SIZE", "64", "bytes per input"},
      {"timeout", 0, "TIME", "60s", "give up after this long without progress"},
      {"queue", 0, "", "", "only submit; the sessions stay open"},
      {"alone", 0, "", "", "a submit only after the answer to the one before"},
  };
  auto options = runtime::Options::parse(kRows, argc, argv);
  if (!options) return options.error();
  Settings s;
  s.endpoint = options->text("endpoint");
  s.application = options->text("application");
  s.queue = options->flag("queue");
  s.alone = options->flag("alone");
  auto sessions = options->number("sessions", 1, 10'000),
       tasks = options->number("task-num", 1, 1'000'000'000),
       run = options->number("run", 1, proto::kRunTasksMax), size = options->size("input-size"),
       timeout = options->duration_ms("timeout");
  for (const auto* value : {&sessions, &tasks, &run, &size, &timeout}) {
    if (!*value) return value->error();
  }
  s.sessions = *sessions, s.tasks = *tasks, s.run = *run, s.size = *size, s.timeout_ms = *timeout;
  return s;
}

struct Open {
  std::string name;
  proto::SessionUid uid = 0;
};

proto::Result<std::vector<Open>> open_all(Connection& connection, const Settings& settings,
                                          Shared& shared) {
  std::string all, input(settings.size, 'p');
  for (uint64_t i = 0; i < settings.run; i++) proto::append_element(all, input);
  auto inputs = proto::Bytes::own(std::move(all));
  std::vector<Open> opened;
  uint64_t given = 0;
  for (uint64_t i = 0; i < settings.sessions; i++) {
    uint64_t upto = settings.tasks * (i + 1) / settings.sessions;
    proto::CreateSession create;
    create.spec.application = settings.application;
    create.spec.retention = "read";
    auto load = std::make_shared<Load>(settings, upto - given, inputs, shared);
    given = upto;
    auto session = connection.create_session(std::move(create), load, kRequestMs);
    if (!session) return session.error();
    opened.push_back({session->info.session, session->info.uid});
  }
  return opened;
}

std::optional<Error> wait_for(Shared& shared, const Settings& settings) {
  uint64_t seen = 0;
  int64_t seen_us = runtime::read_clock().mono_us;
  while (shared.left > 0 && !shared.failed) {
    if (shared.waiter.wait(200) != 0) return Error{Code::kInterrupted, "interrupted"};
    int64_t now_us = runtime::read_clock().mono_us;
    if (uint64_t progress = shared.progress; progress != seen) seen = progress, seen_us = now_us;
    if (now_us - seen_us > static_cast<int64_t>(settings.timeout_ms) * proto::kUsPerMs) {
      return Error{Code::kTimeout,
                   "no progress after " + std::to_string(seen) + " acknowledgements and results"};
    }
  }
  if (shared.failed) return shared.error;
  return std::nullopt;
}

int run(const Settings& settings) {
  tools::Waiter waiter;
  Shared shared{waiter};
  shared.left = settings.sessions;
  auto connected = tools::connect_to_broker("flame-bench-load", settings.endpoint, "");
  if (!connected) return tools::fail("flame-bench-load", connected.error());
  auto connection = std::move(*connected);
  int64_t setup_us = runtime::read_clock().mono_us;
  auto opened = open_all(*connection, settings, shared);
  if (!opened) return tools::fail("flame-bench-load", opened.error());
  int64_t from_us = runtime::read_clock().mono_us;
  for (const auto& session : *opened) {
    if (!settings.queue) connection->watch(session.uid, 0, session.name);
    connection->wake(session.uid);
  }
  auto stopped = wait_for(shared, settings);
  for (const auto& session : *opened) {
    if (settings.queue && !stopped) continue;
    auto closed = connection->request(proto::CloseSession{0, session.name}, kRequestMs);
    if (!closed) std::fprintf(stderr, "flame-bench-load: %s\n", closed.error().message.c_str());
  }
  connection.reset();
  if (stopped) return tools::fail("flame-bench-load", *stopped);
  double seconds = static_cast<double>(shared.last_us - from_us) / proto::kUsPerSecond;
  std::printf(
      "{\"tasks\": %lu, \"sessions\": %lu, \"run\": %lu, \"seconds\": %.6f, \"setup_seconds\": "
      "%.6f, "
      "\"tasks_per_second\": %.0f, \"session\": \"%s\"}\n",
      settings.tasks, settings.sessions, settings.run, seconds,
      static_cast<double>(from_us - setup_us) / proto::kUsPerSecond,
      static_cast<double>(settings.tasks) / seconds, opened->front().name.c_str());
  return 0;
}

}  // namespace

}  // namespace flame::bench

int main(int argc, char** argv) {
  auto settings = flame::bench::parse(argc, argv);
  if (!settings) return flame::tools::fail_usage("flame-bench-load", settings.error());
  return flame::bench::run(*settings);
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/http.hpp"

#include <httplib.h>
#include <poll.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "broker/core/durability.hpp"
#include "runtime/clock.hpp"

namespace flame::broker {

namespace {

using Json = nlohmann::json;

// A loop that published nothing for so long does not turn; its state is not to be trusted.
constexpr int64_t kStaleUs = 5 * proto::kUsPerSecond;
/// Each connection has one for as long as it takes to say what it wants.
constexpr size_t kThreads = 64;
/// For a request and its answer together.
constexpr std::chrono::seconds kRequestTime{2};
/// At the end nobody waits for those that are still saying it.
constexpr std::chrono::seconds kStopWait{1};

Snapshot::App& app_of(std::map<std::string, Snapshot::App>& apps, const std::string& name) {
  auto& app = apps[name];
  app.name = name;
  return app;
}

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

class Metrics {
 public:
  using Labels = std::vector<ClientMetric::Label>;

  void gauge(const char* name, const char* help) { family(name, help, MetricType::Gauge); }
  void counter(const char* name, const char* help) { family(name, help, MetricType::Counter); }
  void add(uint64_t value, Labels labels = {}) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.gauge.value = metric.counter.value = static_cast<double>(value);
    families_.back().metric.push_back(std::move(metric));
  }
  std::string text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  void family(const char* name, const char* help, MetricType type) {
    MetricFamily family;
    family.name = name;
    family.help = help;
    family.type = type;
    families_.push_back(std::move(family));
  }
  std::vector<MetricFamily> families_;
};

std::string executors_json(const Snapshot& s) {
  Json rows = Json::array();
  for (const auto& row : s.executors) {
    rows.push_back(
        {{"id", row.id}, {"state", row.state}, {"slots", row.slots}, {"address", row.address}});
  }
  return rows.dump();
}

std::string demand_json(const Snapshot& s) {
  Json demand = {{"apps", Json::object()}};
  for (const auto& app : s.apps) {
    demand["apps"][app.name] = {
        {"pending", app.pending}, {"running", app.running}, {"slots", app.slots_bound}};
  }
  return demand.dump();
}

/// Ends with a deadline. The library's own time-outs begin anew with each byte.
class TimedStream : public httplib::Stream {
 public:
  explicit TimedStream(socket_t socket) : socket_(socket) {}

  bool is_readable() const override { return taken_ < filled_ || wait(POLLIN); }
  bool is_writable() const override { return wait(POLLOUT); }
  ssize_t read(char* to, size_t size) override {
    if (taken_ == filled_) {
      ssize_t got = wait(POLLIN) ? recv(socket_, buffer_.data(), buffer_.size(), 0) : -1;
      if (got <= 0) return got;
      taken_ = 0;
      filled_ = static_cast<size_t>(got);
    }
    size = std::min(size, filled_ - taken_);
    std::copy_n(buffer_.data() + taken_, size, to);
    taken_ += size;
    return static_cast<ssize_t>(size);
  }
  ssize_t write(const char* from, size_t size) override {
    for (size_t written = 0; written < size;) {
      if (!wait(POLLOUT)) return -1;
      ssize_t sent = send(socket_, from + written, size - written, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0 && errno != EAGAIN && errno != EINTR) return -1;
      written += static_cast<size_t>(std::max<ssize_t>(0, sent));
    }
    return static_cast<ssize_t>(size);
  }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return socket_; }

 private:
  bool wait(short what) const {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(until_ - Clock::now()).count();
    pollfd descriptor{socket_, what, 0};
    return left > 0 && poll(&descriptor, 1, static_cast<int>(left)) > 0;
  }

  using Clock = std::chrono::steady_clock;
  socket_t socket_;
  Clock::time_point until_ = Clock::now() + kRequestTime;
  std::array<char, 4096> buffer_{};
  size_t taken_ = 0, filled_ = 0;
};

/// One request a connection. When all threads have one, a newcomer ends the oldest: whoever says at
/// once what it wants, as a probe does, is never kept waiting by those who do not.
class Server : public httplib::Server {
 public:
  Server() {
    new_task_queue = [this] { return new Pool(*this); };
  }

 private:
  class Pool : public httplib::ThreadPool {
   public:
    explicit Pool(Server& server) : ThreadPool(kThreads), server_(server) {}
    void enqueue(std::function<void()> job) override {
      server_.make_place();
      ThreadPool::enqueue(std::move(job));
    }

   private:
    Server& server_;
  };

  void make_place() {
    std::lock_guard guard(mutex_);
    if (++connections_ <= kThreads || served_.empty()) return;
    ::shutdown(served_.front(), SHUT_RDWR);
    served_.pop_front();
  }
  bool process_and_close_socket(socket_t socket) override {
    {
      std::lock_guard guard(mutex_);
      served_.push_back(socket);
    }
    TimedStream stream(socket);
    bool closed = false;
    bool good = process_request(stream, true, closed, nullptr);
    {
      std::lock_guard guard(mutex_);
      std::erase(served_, socket);
      connections_--;
    }
    ::shutdown(socket, SHUT_RDWR);
    ::close(socket);
    return good;
  }

  std::mutex mutex_;
  std::deque<socket_t> served_;  // oldest first, without those that were ended
  size_t connections_ = 0;       // also those that wait for a thread
};

}  // namespace

Snapshot snapshot_of(const State& state, const proto::Now& now, bool insecure) {
  Snapshot s;
  s.mono_us = now.mono_us;
  s.version = state.config.version;
  s.serving = state.serving;
  s.writable = state.health.writable;
  s.busy = state.health.busy;
  s.insecure = insecure;
  s.waits_for_recover = state.waits_for_recover;
  bool trouble = !state.health.error.message.empty() && !state.waits_for_recover;
  s.problem = !state.serving && !trouble ? state.not_serving_because : state.health.error.message;
  s.totals = state.totals;
  s.slots = state.slots;
  s.clients = state.clients.size();
  for (auto level : {proto::Durability::kSynced, proto::Durability::kReplicated}) {
    s.levels.push_back(
        {proto::name_of(level), waiting_for(state, level), !late_reason(state, level).empty()});
  }
  std::map<std::string, Snapshot::App> apps;
  for (const auto& [name, unused] : state.applications) app_of(apps, name);
  for (const auto& [uid, session] : state.sessions) {
    auto& app = app_of(apps, session->spec.application);
    app.pending += session->counters.pending;
    app.running += session->counters.running;
    app.slots_bound += session->slots_bound;
    (session->finished() ? app.sessions_closed : app.sessions_open)++;
  }
  s.executors.reserve(state.executors.size());
  for (const auto& [id, executor] : state.executors) {
    s.executors_connected += executor.takes_tasks() ? 1 : 0;
    s.executors_held +=
        executor.state == proto::ExecutorState::kConnected && !executor.takes_tasks() ? 1 : 0;
    s.executors_draining += executor.state == proto::ExecutorState::kDraining ? 1 : 0;
    s.executors.push_back(
        {id, executor.address, proto::name_of(executor.state), executor.slots.size()});
  }
  for (const auto& [name, app] : apps) s.apps.push_back(app);
  return s;
}

std::string metrics_text(const Snapshot& s) {
  Metrics m;
  m.gauge("flame_build_info", "Version of the broker.");
  m.add(1, {{"version", s.version}});
  m.gauge("flame_redis_up", "1 while Redis takes writes.");
  m.add(s.writable ? 1 : 0);
  m.gauge("flame_tasks", "Tasks that wait or run.");
  for (const auto& app : s.apps) {
    m.add(app.pending, {{"app", app.name}, {"state", "pending"}});
    m.add(app.running, {{"app", app.name}, {"state", "running"}});
  }
  m.gauge("flame_sessions", "Sessions that are kept.");
  for (const auto& app : s.apps) {
    m.add(app.sessions_open, {{"app", app.name}, {"state", "open"}});
    m.add(app.sessions_closed, {{"app", app.name}, {"state", "closed"}});
  }
  m.gauge("flame_executors", "Executors by state.");
  m.add(s.executors_connected, {{"state", "connected"}});
  m.add(s.executors_draining, {{"state", "draining"}});
  m.add(s.executors_held, {{"state", "held"}});
  m.gauge("flame_slots", "Slots of connected executors.");
  m.add(s.slots);
  m.gauge("flame_clients", "Connected clients.");
  m.add(s.clients);
  m.gauge("flame_durability_waiting", "Acknowledgements and results that wait for a level.");
  for (const auto& level : s.levels) m.add(level.waiting, {{"level", std::string(level.name)}});
  m.gauge("flame_durability_late", "1 while they wait longer than they should.");
  for (const auto& level : s.levels)
    m.add(level.late ? 1 : 0, {{"level", std::string(level.name)}});
  m.counter("flame_tasks_submitted_total", "Tasks accepted.");
  m.add(s.totals.submitted);
  m.counter("flame_tasks_finished_total", "Results recorded.");
  m.add(s.totals.succeed, {{"result", "succeed"}});
  m.add(s.totals.failed, {{"result", "failed"}});
  m.add(s.totals.cancelled, {{"result", "cancelled"}});
  m.counter("flame_task_retries_total", "Attempts charged.");
  m.add(s.totals.retried_lost + s.totals.retried_crashed);
  m.counter("flame_tasks_returned_total", "Tasks that came back unstarted, uncharged.");
  m.add(s.totals.returned);
  m.counter("flame_results_duplicate_total", "Results of tasks that had one already.");
  m.add(s.totals.duplicates);
  m.counter("flame_batches_total", "Transactions written.");
  m.add(s.totals.batches);
  m.counter("flame_messages_rejected_total", "Messages answered with an error.");
  for (const auto& [reason, count] : s.totals.rejected) m.add(count, {{"reason", reason}});
  return m.text();
}

struct HttpServer::Impl {
  Server server;
  std::thread thread;
  std::promise<void> ended;
  std::mutex mutex;
  std::shared_ptr<const Snapshot> snapshot = std::make_shared<Snapshot>();

  std::shared_ptr<const Snapshot> current() {
    std::lock_guard guard(mutex);
    return snapshot;
  }
  static bool fresh(const Snapshot& s) {
    return runtime::read_clock().mono_us - s.mono_us < kStaleUs;
  }

  void livez(httplib::Response& response) {
    auto s = current();
    response.status = fresh(*s) ? 200 : 503;
    response.set_content(fresh(*s) ? "ok\n" : "the loop does not turn\n", "text/plain");
  }
  void readyz(httplib::Response& response) {
    auto s = current();
    bool ready = fresh(*s) && s->serving && s->writable;
    std::string text = !fresh(*s) ? "the loop does not turn" : ready ? "ok" : s->problem;
    if (ready && s->busy) text += "\nsubmits are refused: " + s->problem;
    if (s->waits_for_recover) text += "\nflmctl recover --accept-loss goes on with what Redis has";
    if (s->insecure) text += "\ninsecure: listens beyond loopback without keys";
    response.status = ready ? 200 : 503;
    response.set_content(text + "\n", "text/plain");
  }
};

HttpServer::HttpServer() : impl_(std::make_unique<Impl>()) {
  auto& server = impl_->server;
  server.set_payload_max_length(1024);  // nothing here takes a body
  server.Get("/livez", [this](const auto&, auto& r) { impl_->livez(r); });
  server.Get("/healthz", [this](const auto&, auto& r) { impl_->livez(r); });
  // Not the library's SO_REUSEPORT: two brokers would share the port, and each would get half of
  // the questions.
  server.set_socket_options([](socket_t socket) {
    int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  server.Get("/readyz", [this](const auto&, auto& r) { impl_->readyz(r); });
  server.Get("/metrics", [this](const auto&, auto& r) {
    r.set_content(metrics_text(*impl_->current()), "text/plain; version=0.0.4");
  });
  server.Get("/api/v1/executors", [this](const auto&, auto& r) {
    r.set_content(executors_json(*impl_->current()), "application/json");
  });
  server.Get("/api/v1/demand", [this](const auto&, auto& r) {
    r.set_content(demand_json(*impl_->current()), "application/json");
  });
}

HttpServer::~HttpServer() { stop(); }

proto::Result<int> HttpServer::listen(const std::string& address, int port) {
  int bound = port;
  bool good = true;
  if (port == 0) {
    bound = impl_->server.bind_to_any_port(address.c_str());
    good = bound > 0;
  } else {
    good = impl_->server.bind_to_port(address.c_str(), port);
  }
  if (!good) {
    return proto::Error{
        proto::Code::kAlreadyExists,
        "cannot listen on http://" + address + ":" + std::to_string(port) + ": the port is taken"};
  }
  impl_->thread = std::thread([impl = impl_.get()] {
    impl->server.listen_after_bind();
    impl->ended.set_value();
  });
  return bound;
}

void HttpServer::publish(Snapshot snapshot) {
  auto next = std::make_shared<const Snapshot>(std::move(snapshot));
  std::lock_guard guard(impl_->mutex);
  impl_->snapshot = std::move(next);
}

bool HttpServer::stop() {
  if (impl_ == nullptr || !impl_->thread.joinable()) return true;
  impl_->server.stop();
  if (impl_->ended.get_future().wait_for(kStopWait) == std::future_status::ready) {
    impl_->thread.join();
    return true;
  }
  // Left to the end of the process, which is near.
  impl_->thread.detach();
  (void)impl_.release();
  return false;
}

}  // namespace flame::broker

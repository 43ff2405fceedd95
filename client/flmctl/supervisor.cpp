// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/supervisor.hpp"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "client/flmctl/log_file.hpp"
#include "client/flmctl/supervisor_redis.hpp"
#include "client/flmctl/up_ports.hpp"
#include "proto/ids.hpp"
#include "proto/limits.hpp"
#include "proto/process_exit.hpp"

namespace flame::flmctl {

using proto::Code;
using proto::Error;

namespace {
constexpr int64_t kProbeEveryUs = 15 * proto::kUsPerMs;
constexpr int64_t kProbePatienceUs = proto::kUsPerSecond;
/// `up` waits so long for everything to be ready, counted from the moment Redis has loaded.
constexpr int64_t kReadyPatienceUs = 10 * proto::kUsPerSecond;
constexpr size_t kLinesShown = 8;
/// The files may pass their limit by what is written in this time.
constexpr int64_t kLookAtLogsEveryUs = 5 * proto::kUsPerSecond;
constexpr const char* kCluster = "local";

std::string seconds_text(int64_t us) {
  int64_t tenths = us / 100'000;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

uint64_t size_of(const std::string& path) {
  struct stat found {};
  return stat(path.c_str(), &found) == 0 ? static_cast<uint64_t>(found.st_size) : 0;
}

std::vector<std::string> redis_secrets() {
  return {"FLAME_REDIS_URL", "FLAME_REDIS_PASSWORD_FILE"};
}
}  // namespace

Supervisor::Supervisor(const ClusterFolder& folder, SupervisorPlan plan,
                       std::function<void(const std::string&)> tell)
    : folder_(folder),
      plan_(std::move(plan)),
      tell_(std::move(tell)),
      signals_(loop_, {SIGINT, SIGTERM, SIGHUP}, [this](int) { on_signal(); }),
      control_(loop_, [this](const auto& request,
                             auto answer) { on_request(request, std::move(answer)); }),
      core_(plan_.settings.redis.empty(), plan_.settings.executors, plan_.settings.autoscale),
      ring_(plan_.before.ring) {
  adopt_living();
}

void Supervisor::adopt_living() {
  if (plan_.before.boot_id != boot_id()) return;
  for (const auto& facts : plan_.before.processes) {
    auto process = SupervisedProcess::adopt(facts.pid, facts.start_ticks);
    if (!process) continue;
    core_.adopt(facts.name, facts.application);
    auto& child = children_[facts.name];
    child.process = std::move(*process);
    child.facts = facts;
    child.process->watch(loop_, [this, name = facts.name](const auto& how) { on_exit(name, how); });
  }
}

void Supervisor::run() {
  loop_.turn(0);
  step([this](auto& actions) {
    if (plan_.only_stop) {
      core_.stop(loop_.now(), actions);
    } else {
      core_.begin(loop_.now(), actions);
    }
  });
  while (!finished_) loop_.turn(-1);
}

void Supervisor::on_signal() {
  if (!core_.stopping()) tell_("Stopping: executors, broker, Redis, in this order ...");
  step([this](auto& actions) { core_.stop(loop_.now(), actions); });
}

void Supervisor::on_request(const ControlRequest& request, ControlServer::Answer answer) {
  if (request.verb == "status") return answer(reply("ok", ""));
  if (request.verb == "down") {
    stop_waiters_.push_back(std::move(answer));
    return on_signal();
  }
  if (request.verb == "scale") return answer(scale(request));
  if (request.verb != "up") return answer(reply("refused", "unknown verb"));
  if (core_.stopping()) return answer(reply("stopping", "the cluster is being stopped"));
  if (auto text = difference(request, plan_.settings); !text.empty())
    return answer(reply("differs", text));
  if (request.executors) plan_.settings.executors = *request.executors;
  when_ready(std::move(answer));
  step([this](auto& actions) {
    core_.set_executors(plan_.settings.executors, loop_.now(), actions);
    core_.retry_now(loop_.now(), actions);
  });
}

ControlReply Supervisor::scale(const ControlRequest& request) {
  if (core_.stopping()) return reply("stopping", "the cluster is being stopped");
  uint64_t there = 0, add = request.add.value_or(0);
  for (const auto& process : core_.processes()) there += process.scaled();
  std::string application = request.application.value_or("");
  using Name = proto::Result<std::string>;
  Name named = add == 0 ? Name(std::string()) : proto::check_name("application", application);
  if (!named) return reply("refused", named.error().message);
  if (!plan_.settings.autoscale || there + add > plan_.settings.max_executors) {
    return reply("refused", std::to_string(there) + " scaled executors run, at most " +
                                std::to_string(plan_.settings.max_executors) + " may");
  }
  step([&](auto& actions) {
    core_.leave_scaled(request.leave, loop_.now(), actions);
    core_.add_scaled(application, add, loop_.now(), actions);
  });
  return reply("ok", "");
}

void Supervisor::when_ready(std::function<void(const ControlReply&)> answer) {
  waits_for_recover_.clear();  // somebody may have decided since the last look
  waiters_.push_back({loop_.now().mono_us + kReadyPatienceUs, std::move(answer)});
}

void Supervisor::on_tick() {
  if (loop_.now().mono_us >= look_at_logs_us_) bound_logs();
  probe_starting();
  step([this](auto& actions) { core_.on_time(loop_.now(), actions); });
}

void Supervisor::on_exit(const std::string& name, const std::string& how) {
  auto node = children_.extract(name);  // kept until the report has named its pid
  int pid = node.mapped().facts.pid;
  children_[name].log_offset = node.mapped().log_offset;
  children_[name].facts = node.mapped().facts;
  auto text = "(pid " + std::to_string(pid) + ") " + how;
  auto replaced = why_replaced(name, pid, how);
  step([&](auto& actions) {
    if (how == describe_exit(CLD_EXITED, 0)) return core_.on_left(name, text, loop_.now(), actions);
    if (replaced.empty()) return core_.on_exit(name, text, loop_.now(), actions);
    core_.on_replaced(name, text + ": " + replaced, loop_.now(), actions);
  });
}

void Supervisor::step(const std::function<void(SupervisorActions&)>& event) {
  SupervisorActions actions;
  event(actions);
  for (const auto& action : actions) perform(action);
  answer_waiters();
  if (core_.all_stopped()) return finish();
  save();
  arm();
}

void Supervisor::perform(const SupervisorAction& action) {
  if (auto* begin = std::get_if<StartProcess>(&action)) return start(begin->name);
  if (auto* death = std::get_if<ReportDeath>(&action)) return report_death(*death);
  if (auto* gone = std::get_if<ReportEnd>(&action)) return tell_(gone->name + " " + gone->text);
  if (auto* back = std::get_if<ReportReturn>(&action)) {
    return tell_(back->name + " runs again (pid " +
                 std::to_string(children_[back->name].facts.pid) + ")");
  }
  const auto& order = std::get<SignalProcess>(action);
  if (auto& child = children_[order.name]; child.process) child.process->send_signal(order.signal);
}

void Supervisor::start(const std::string& name) {
  if (name == "broker") waits_for_recover_.clear();
  auto& child = children_[name];
  child.log_offset = size_of(folder_.log_file(name));
  auto prepared = prepare(name);
  auto process = !prepared
                     ? prepared.error()
                     : SupervisedProcess::start(launch_plan(name), [&](pid_t pid) -> proto::Status {
                         child.facts.name = name;
                         child.facts.pid = pid;
                         child.facts.start_ticks = start_ticks_of(pid);
                         child.facts.started_ms = loop_.now().wall_ms();
                         return folder_.write_cluster(status());
                       });
  if (!process) {
    child.facts.pid = 0;
    return step([&](auto& actions) {
      core_.on_exit(name, "did not start: " + process.error().message, loop_.now(), actions);
    });
  }
  child.process = std::move(*process);
  child.process->watch(loop_, [this, name](const auto& how) { on_exit(name, how); });
}

proto::Status Supervisor::prepare(const std::string& name) const {
  if (name == "broker") {
    unlink(folder_.ready_file().c_str());
    return check_ports(plan_.settings.port);
  }
  if (name != "redis") return {};
  std::ofstream file(folder_.redis_folder() + "/redis.conf", std::ios::trunc);
  file << redis_settings({.folder = folder_.redis_folder(),
                          .socket = folder_.redis_socket(),
                          .appendfsync = plan_.settings.appendfsync,
                          .memory_bytes = memory_here_bytes(),
                          .disk_free_bytes = folder_.disk_free_bytes()});
  file.close();
  if (!file) return Error{Code::kSystem, "cannot write " + folder_.redis_folder() + "/redis.conf"};
  return {};
}

LaunchPlan Supervisor::launch_plan(const std::string& name) const {
  LaunchPlan plan{.unset_environment = redis_secrets(),
                  .folder = folder_.path(),
                  .log_file = folder_.log_file(name)};
  auto ports = ports_of(plan_.settings.port);
  if (name == "redis") {
    plan.command = {"redis-server", folder_.redis_folder() + "/redis.conf"};
  } else if (name == "broker") {
    plan.command = {plan_.programs + "/flame-broker",
                    "--listen",
                    "127.0.0.1:" + std::to_string(ports.clients),
                    "--cluster",
                    kCluster,
                    "--data",
                    folder_.path(),
                    "--ready-file",
                    folder_.ready_file()};
    // Nobody else can have the ring of a private Redis: the folder's lock is ours.
    if (plan_.settings.redis.empty())
      plan.command.insert(plan.command.end(), {"--takeover-grace", "0"});
    plan.set_environment = {{"FLAME_REDIS_URL", plan_.redis_url}};
  } else if (name == "autoscaler") {
    plan.command = autoscaler_command();
    plan.set_environment = {{"FLAME_REDIS_URL", plan_.redis_url}};
  } else {
    plan.command = executor_command(name);
  }
  return plan;
}

std::vector<std::string> Supervisor::autoscaler_command() const {
  return {plan_.programs + "/flame-autoscaler",
          "--control",
          folder_.control_socket(),
          "--endpoint",
          ports_of(plan_.settings.port).clients_endpoint(),
          "--cluster",
          kCluster,
          "--slots",
          std::to_string(plan_.settings.slots),
          "--max-executors",
          std::to_string(plan_.settings.max_executors)};
}

std::vector<std::string> Supervisor::executor_command(const std::string& name) const {
  std::vector<std::string> command = {plan_.programs + "/flame-executor",
                                      "--broker",
                                      ports_of(plan_.settings.port).executors_endpoint(),
                                      "--endpoint",  // FLAME_ENDPOINT may be another cluster's
                                      ports_of(plan_.settings.port).clients_endpoint(),
                                      "--cluster",  // ... and FLAME_CLUSTER too
                                      kCluster,
                                      "--id",
                                      name,
                                      "--slots",
                                      std::to_string(plan_.settings.slots),
                                      "--work-dir",
                                      folder_.path() + "/work/" + name};
  for (const auto& process : core_.processes()) {
    if (process.name == name && process.scaled())
      command.insert(command.end(), {"--application", process.application});
  }
  return command;
}

void Supervisor::report_death(const ReportDeath& death) {
  std::string text =
      death.name + " " + death.how + "; it starts again in " + seconds_text(death.wait_us);
  for (const auto& line : log_lines(death.name, kLinesShown)) text += "\n    " + line;
  tell_(text);
}

// "" if it was not. Both signs, since only a parent learns the code, and a full disk takes no file.
std::string Supervisor::why_replaced(const std::string& name, int pid,
                                     const std::string& how) const {
  if (name != "broker") return "";
  auto left = ready_file_from_json(read_text_file(folder_.ready_file()));
  std::string why = left && left->pid == pid ? left->replaced : "";
  if (why.empty() && how != describe_exit(CLD_EXITED, proto::kExitReplaced)) return "";
  if (why.empty()) why = "another broker took this Redis over";
  return why +
         ". It stays stopped: stop the other cluster for good, or give each a Redis of its "
         "own; flmctl up --data " +
         folder_.path() + " takes it back";
}

void Supervisor::probe_starting() {
  bool redis = false, broker = false, executors = false;
  for (const auto& process : core_.processes()) {
    if (process.state != ProcessState::kStarting) continue;
    redis |= process.role == Role::kRedis;
    broker |= process.role == Role::kBroker;
    executors |= process.role == Role::kExecutor;
  }
  // Nobody waits for it: without it nothing but the number of executors stands still.
  step([this](auto& actions) { core_.on_ready("autoscaler", loop_.now(), actions); });
  if (redis) probe_redis();
  if (broker) probe_broker();
  if (executors) probe_executors();
}

void Supervisor::ask(Role role, const std::string& address, const std::string& request,
                     std::function<void(const std::string&)> answered) {
  if (probes_.contains(role)) return;
  probes_[role] = std::make_unique<Probe>(
      loop_, address, request, kProbePatienceUs,
      [this, role, answered = std::move(answered)](const std::string& answer) {
        probes_.erase(role);
        answered(answer);
      });
}

void Supervisor::probe_redis() {
  ask(Role::kRedis, folder_.redis_socket(), redis_ping(), [this](const std::string& answer) {
    switch (redis_answer(answer)) {
      case RedisAnswer::kLoading:
        loading_us_ = loop_.now().mono_us;
        break;
      case RedisAnswer::kReady:
        return step([this](auto& actions) { core_.on_ready("redis", loop_.now(), actions); });
      case RedisAnswer::kNone:
        break;
    }
  });
}

void Supervisor::probe_broker() {
  auto ready = ready_file_from_json(read_text_file(folder_.ready_file()));
  bool serves = ready && ready->pid == children_["broker"].facts.pid;
  if (serves) ring_ = ready->ring;
  ask(Role::kBroker, address_of(ports_of(plan_.settings.port).http_url()), http_get("/readyz"),
      [this, serves](const std::string& answer) {
        // It waits for a person, who needs it running: no reason to go on waiting, nor to stop.
        if (http_text(answer).find("flmctl recover") != std::string::npos)
          return step([&](auto&) { waits_for_recover_ = http_text(answer); });
        if (!serves || !http_ok(answer)) return;
        waits_for_recover_.clear();
        step([this](auto& actions) { core_.on_ready("broker", loop_.now(), actions); });
      });
}

void Supervisor::probe_executors() {
  ask(Role::kExecutor, address_of(ports_of(plan_.settings.port).http_url()),
      http_get("/api/v1/executors"), [this](const std::string& answer) {
        auto connected = executors_from_json(http_body(answer));
        if (!connected) return;
        for (const auto& name : *connected) {
          step([&](auto& actions) { core_.on_ready(name, loop_.now(), actions); });
        }
      });
}

void Supervisor::save() {
  auto now = status();
  auto text = to_json(now);
  if (text == saved_) return;
  if (auto written = folder_.write_cluster(now); !written) return tell_(written.error().message);
  saved_ = text;
}

void Supervisor::arm() {
  int64_t now = loop_.now().mono_us;
  int64_t at = std::min(core_.next_deadline_us(), look_at_logs_us_);
  for (const auto& process : core_.processes()) {
    if (process.state == ProcessState::kStarting) at = std::min(at, now + kProbeEveryUs);
  }
  for (const auto& waiter : waiters_)
    at = std::min(at, std::max(waiter.deadline_us, now + kProbeEveryUs));
  loop_.cancel(timer_);
  timer_ = loop_.call_at(at, [this] { on_tick(); });
}

void Supervisor::bound_logs() {
  look_at_logs_us_ = loop_.now().mono_us + kLookAtLogsEveryUs;
  for (auto& [name, child] : children_) {
    if (keep_log_bounded(folder_.log_file(name), proto::kLogBytesMax)) child.log_offset = 0;
  }
  keep_log_bounded(folder_.log_file("supervisor"), proto::kLogBytesMax);
}

void Supervisor::answer_waiters() {
  if (waiters_.empty()) return;
  bool ready = core_.all_ready(), stopping = core_.stopping(), replaced = core_.replaced();
  for (size_t i = 0; i < waiters_.size();) {
    int64_t deadline_us = std::max(waiters_[i].deadline_us, loading_us_ + kReadyPatienceUs);
    bool decide = !waits_for_recover_.empty();
    if (!ready && !stopping && !decide && !replaced && loop_.now().mono_us < deadline_us) {
      i++;
      continue;
    }
    auto answer = std::move(waiters_[i].answer);
    waiters_.erase(waiters_.begin() + static_cast<ptrdiff_t>(i));
    if (ready) {
      answer(reply("ok", ""));
    } else if (stopping) {
      answer(reply("stopping", "the cluster is being stopped"));
    } else if (decide) {
      answer(reply("recover", "the broker runs and does not serve: " + waits_for_recover_));
    } else {
      auto failed = reply("failed", replaced ? "not ready:" : "not ready within 10 s:");
      for (const auto& name : core_.not_ready()) {
        failed.message += " " + name;
        failed.lines.push_back(name + " (" + folder_.log_file(name) + "):");
        auto last = failed.status.find(name);
        if (last != nullptr && !last->last_exit.empty())
          failed.lines.push_back("    " + last->last_exit);
        for (const auto& line : log_lines(name, kLinesShown)) failed.lines.push_back("    " + line);
      }
      answer(failed);
    }
  }
}

void Supervisor::finish() {
  if (finished_) return;
  finished_ = true;
  folder_.remove_cluster();
  control_.close_listener();
  // Before the answers: whoever gets one may start the cluster again at once.
  if (plan_.lock_fd >= 0) close(plan_.lock_fd);
  tell_("Stopped; everything is kept in " + folder_.path());
  for (const auto& answer : stop_waiters_) answer(reply("ok", ""));
}

ControlReply Supervisor::reply(const std::string& result, const std::string& message) const {
  return {.result = result, .message = message, .lines = {}, .status = status()};
}

ClusterStatus Supervisor::status() const {
  auto ports = ports_of(plan_.settings.port);
  ClusterStatus out{.version = FLAME_VERSION,
                    .data = folder_.path(),
                    .endpoint = ports.clients_endpoint(),
                    .executors_endpoint = ports.executors_endpoint(),
                    .http = ports.http_url(),
                    .redis = plan_.settings.redis.empty() ? "unix://" + folder_.redis_socket()
                                                          : plan_.settings.redis,
                    .ring = ring_,
                    .boot_id = boot_id(),
                    .supervisor_pid = getpid(),
                    .settings = plan_.settings};
  bool started = true;
  for (const auto& process : core_.processes()) {
    auto& row = out.processes.emplace_back();
    auto child = children_.find(process.name);
    if (child != children_.end()) row = child->second.facts;
    row.name = process.name;
    row.application = process.application;
    row.state = name_of(process.state);
    if (!process.alive()) row.pid = 0, row.start_ticks = 0, row.started_ms = 0;
    row.restarts = process.restarts;
    row.last_exit = process.last_exit;
    started &= process.was_ready || process.scaled();
  }
  out.state = core_.stopping()    ? "stopping"
              : core_.replaced()  ? "replaced"
              : core_.all_ready() ? "running"
              : started           ? "degraded"
                                  : "starting";
  return out;
}

std::vector<std::string> Supervisor::log_lines(const std::string& name, size_t lines_max) const {
  auto child = children_.find(name);
  uint64_t offset = child == children_.end() ? 0 : child->second.log_offset;
  return last_lines(folder_.log_file(name), offset, lines_max);
}

}  // namespace flame::flmctl

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/up.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "client/exit_codes.hpp"
#include "client/flmctl/supervisor.hpp"
#include "client/flmctl/up_ports.hpp"
#include "client/flmctl/up_request.hpp"
#include "client/flmctl/up_text.hpp"
#include "runtime/log.hpp"
#include "runtime/options.hpp"
#include "runtime/process.hpp"

namespace flame::flmctl {

using proto::Code;
using proto::Error;

namespace {

/// How long a supervisor may take between its lock and its socket, or between its last answer and
/// its end.
constexpr int kMeetTries = 1000, kMeetPauseMs = 20;

int complain(const std::string& message, int code = tools::kExitFailed) {
  std::fprintf(stderr, "flmctl: %s\n", message.c_str());
  return code;
}

std::string folder_of_programs() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path().string();
}

bool any_living(const ClusterStatus& before) {
  if (before.boot_id != boot_id()) return false;
  for (const auto& process : before.processes) {
    if (process.pid != 0 && start_ticks_of(process.pid) == process.start_ticks) return true;
  }
  return false;
}

std::string default_data() {
  std::error_code error;
  return std::filesystem::weakly_canonical(ClusterFolder::default_path(), error).string();
}

int show_up_reply(const ControlReply& reply, bool detached) {
  if (reply.result == "ok") {
    std::fputs(up_summary(reply.status, detached, default_data()).c_str(), stdout);
    return 0;
  }
  int code = complain(reply.message);
  for (const auto& line : reply.lines) std::fprintf(stderr, "%s\n", line.c_str());
  return code;
}

/// The lock, or the answer of the supervisor that has it. Waits while one is about to start or to
/// end.
struct Met {
  int lock_fd = -1;
  ControlReply reply;
};
proto::Result<Met> lock_or_ask(const ClusterFolder& folder, const ControlRequest& request) {
  for (int tries = 0; tries < kMeetTries; tries++) {
    auto lock = folder.lock();
    if (!lock) return lock.error();
    if (*lock >= 0) return Met{.lock_fd = *lock};
    auto reply = ask_supervisor(folder.control_socket(), request);
    if (reply && reply->result != "stopping") return Met{.reply = *reply};
    poll(nullptr, 0, kMeetPauseMs);
  }
  return Error{Code::kTimeout, "the supervisor of " + folder.path() +
                                   " holds its lock and does not answer; see " +
                                   folder.log_file("supervisor")};
}

proto::Result<SupervisorPlan> plan_for(const ClusterFolder& folder, const UpRequest& request) {
  SupervisorPlan plan{.programs = folder_of_programs()};
  if (auto before = folder.read_cluster(); before) {
    plan.before = *before;
  } else if (before.error().code != Code::kNotFound) {
    return before.error();
  }
  if (any_living(plan.before)) {
    auto text = difference(request.given, plan.before.settings);
    if (!text.empty()) return Error{Code::kBadRequest, text};
    plan.settings = plan.before.settings;
    plan.settings.executors = request.given.executors.value_or(plan.settings.executors);
  } else {
    plan.settings = settings_for(request.given, std::max(1u, std::thread::hardware_concurrency()));
    if (plan.settings.port == 0) {
      auto port = free_port();
      if (!port) return port.error();
      plan.settings.port = *port;
    } else if (auto status = check_ports(plan.settings.port); !status) {
      return status.error();
    }
  }
  plan.redis_url = plan.settings.redis.empty() ? "unix://" + folder.redis_socket()
                   : request.redis_url.empty() ? plan.settings.redis
                                               : request.redis_url;
  return plan;
}

void tell_person(const std::string& text) {
  std::printf("%s\n", text.c_str());
  std::fflush(stdout);
}

int supervise_here(const ClusterFolder& folder, SupervisorPlan plan) {
  Supervisor supervisor(folder, std::move(plan), tell_person);
  if (auto status = supervisor.listen(); !status) return complain(status.error().message);
  supervisor.when_ready([](const ControlReply& reply) {
    if (reply.result != "stopping") show_up_reply(reply, false);
    std::fflush(stdout);
  });
  supervisor.run();
  return 0;
}

// The child: its error, if it has one before it listens, goes through `report`.
[[noreturn]] void supervise_detached(const ClusterFolder& folder, SupervisorPlan plan, int report) {
  setsid();
  int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
  int log =
      open(folder.log_file("supervisor").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (input >= 0) dup2(input, 0);
  if (log >= 0) dup2(log, 1), dup2(log, 2);
  if (chdir("/") != 0) _exit(tools::kExitFailed);
  bool logs = runtime::log::start("flmctl-up", "info", "text").has_value();
  Supervisor supervisor(folder, std::move(plan), [](const std::string& text) {
    for (size_t at = 0, end = 0; end != text.npos; at = end + 1) {
      end = text.find('\n', at);
      runtime::log::info(text.substr(at, end == text.npos ? end : end - at));
    }
  });
  auto status = supervisor.listen();
  const std::string& message = status ? "" : status.error().message;
  bool told = status || write(report, message.data(), message.size()) > 0;
  close(report);
  if (!logs || !told || !status) _exit(tools::kExitFailed);
  supervisor.run();
  _exit(0);
}

int supervise_in_background(const ClusterFolder& folder, SupervisorPlan plan,
                            const ControlRequest& given) {
  bool fresh = !any_living(plan.before);
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) return complain("no pipe left for this process");
  std::fflush(nullptr);
  pid_t pid = fork();
  if (pid < 0) return complain("cannot start the supervisor: fork failed");
  if (pid == 0) {
    close(report[0]);
    supervise_detached(folder, std::move(plan), report[1]);
  }
  close(report[1]);
  close(plan.lock_fd);
  std::string message;
  char part[512];
  for (ssize_t got = 0; (got = read(report[0], part, sizeof part)) > 0;)
    message.append(part, static_cast<size_t>(got));
  close(report[0]);
  if (!message.empty()) return complain(message);
  auto reply = ask_supervisor(folder.control_socket(), given);
  if (!reply) return complain("the supervisor ended at once; see " + folder.log_file("supervisor"));
  int code = show_up_reply(*reply, true);
  // What this call started and could not bring up must not go on trying behind the person's back.
  if (reply->result == "failed" && fresh) {
    auto down = ask_supervisor(folder.control_socket(), ControlRequest{.verb = "down"});
    complain(down ? "stopped again" : "could not be stopped: flmctl down --data " + folder.path());
  }
  return code;
}

}  // namespace

int run_up(int argc, const char* const* argv) {
  const char* redis = std::getenv("FLAME_REDIS_URL");
  auto request = parse_up(argc, argv, redis == nullptr ? "" : redis);
  runtime::forget_environment("FLAME_REDIS_URL");
  if (!request) return complain(request.error().message, tools::kExitUsage);
  if (request->help) {
    std::fputs(up_help().c_str(), stdout);
    return 0;
  }
  auto folder = ClusterFolder::make(request->data);
  if (!folder) return complain(folder.error().message);
  auto met = lock_or_ask(*folder, request->given);
  if (!met) return complain(met.error().message);
  if (met->lock_fd < 0) return show_up_reply(met->reply, true);
  auto plan = plan_for(*folder, *request);
  if (!plan) return complain(plan.error().message);
  plan->lock_fd = met->lock_fd;
  return request->detach ? supervise_in_background(*folder, std::move(*plan), request->given)
                         : supervise_here(*folder, std::move(*plan));
}

int run_down(int argc, const char* const* argv) {
  std::vector<runtime::OptionRow> rows = {
      {.name = "data", .argument = "DIR", .help = "folder of the cluster (default as for up)"},
      {.name = "help", .letter = 'h', .help = "this text"}};
  auto options = runtime::Options::parse(rows, argc, argv);
  if (!options) return complain(options.error().message, tools::kExitUsage);
  if (options->flag("help")) {
    std::printf("Usage: flmctl down [options]\n\n  stop the cluster of a folder, in order\n\n%s",
                runtime::options_help(rows).c_str());
    return 0;
  }
  if (auto status = no_words(options->positional()); !status)
    return complain(status.error().message, tools::kExitUsage);
  std::string data = options->given("data") ? options->text("data") : ClusterFolder::default_path();
  auto nothing = [&] { return std::printf("Nothing runs in %s\n", data.c_str()), 0; };
  auto folder = ClusterFolder::existing(data);
  if (!folder) return nothing();
  auto met = lock_or_ask(*folder, ControlRequest{.verb = "down"});
  if (!met) return complain(met.error().message);
  if (met->lock_fd < 0)
    return std::printf("Stopped; everything is kept in %s\n", folder->path().c_str()), 0;
  auto before = folder->read_cluster();
  if (!before || !any_living(*before)) {
    folder->remove_cluster();
    return nothing();
  }
  // Its supervisor was killed: this process is the next one, for as long as stopping takes.
  Supervisor supervisor(*folder,
                        SupervisorPlan{.settings = before->settings,
                                       .before = *before,
                                       .lock_fd = met->lock_fd,
                                       .only_stop = true},
                        tell_person);
  supervisor.run();
  return 0;
}

}  // namespace flame::flmctl

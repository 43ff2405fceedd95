// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// `flmctl status`: asks the supervisor, or looks at what a killed one left, and changes nothing.

#include <cstdio>

#include "client/exit_codes.hpp"
#include "client/flmctl/supervisor_control.hpp"
#include "client/flmctl/supervisor_probe.hpp"
#include "client/flmctl/supervisor_process.hpp"
#include "client/flmctl/supervisor_redis.hpp"
#include "client/flmctl/up.hpp"
#include "client/flmctl/up_request.hpp"
#include "client/flmctl/up_text.hpp"
#include "runtime/clock.hpp"
#include "runtime/options.hpp"

namespace flame::flmctl {

namespace {

std::vector<runtime::OptionRow> rows() {
  return {{.name = "data", .argument = "DIR", .help = "folder of the cluster (default as for up)"},
          {.name = "output",
           .letter = 'o',
           .argument = "FORMAT",
           .fallback = "table",
           .help = "table or json"},
          {.name = "help", .letter = 'h', .help = "this text"}};
}

/// From the supervisor, else from cluster.json with what still lives of it.
proto::Result<ClusterStatus> look(const ClusterFolder& folder) {
  if (auto reply = ask_supervisor(folder.control_socket(), ControlRequest{.verb = "status"});
      reply) {
    return reply->status;
  }
  auto status = folder.read_cluster();
  if (!status) return status;
  bool same_boot = status->boot_id == boot_id(), any = false;
  for (auto& process : status->processes) {
    bool lives =
        same_boot && process.pid != 0 && start_ticks_of(process.pid) == process.start_ticks;
    if (!lives) process.pid = 0, process.state = "stopped";
    any |= lives;
  }
  status->supervisor_pid = 0;
  status->state = any ? "unsupervised" : "stopped";
  return status;
}

ClusterHealth measure(const ClusterFolder& folder, const ClusterStatus& status) {
  ClusterHealth health{.disk_free_bytes = folder.disk_free_bytes()};
  if (status.settings.redis.empty()) health.append_only_bytes = folder.append_only_bytes();
  runtime::EventLoop loop;
  size_t answered = 0;
  std::string address = address_of(status.redis);
  if (auto slash = address.find('/', 1); status.redis.starts_with("redis://"))
    address = address.substr(0, slash);
  Probe probe(loop, address, redis_info(), proto::kUsPerSecond, [&](const std::string& info) {
    health.memory_bytes = redis_info_number(info, "used_memory");
    health.memory_max_bytes = redis_info_number(info, "maxmemory");
    answered++;
  });
  auto on_ready = [&](const std::string& answer) {
    health.ready = http_ok(answer);
    health.ready_text = answer.empty() ? "no answer at " + status.http : http_text(answer);
    answered++;
  };
  Probe ready(loop, address_of(status.http), http_get("/readyz"), proto::kUsPerSecond, on_ready);
  while (answered < 2) loop.turn(-1);
  for (const auto& process : status.processes) {
    // More than that nobody answers.
    if (process.state == "replaced") health.ready_text = process.last_exit;
  }
  return health;
}

}  // namespace

int run_status(int argc, const char* const* argv) {
  auto options = runtime::Options::parse(rows(), argc, argv);
  std::string format = options ? options->text("output") : "";
  if (options && format != "table" && format != "json") {
    std::fprintf(stderr, "flmctl: -o is table or json, not '%s'\n", format.c_str());
    return tools::kExitUsage;
  }
  if (!options)
    return std::fprintf(stderr, "flmctl: %s\n", options.error().message.c_str()), tools::kExitUsage;
  if (options->flag("help")) {
    std::printf(
        "Usage: flmctl status [options]\n\n  what runs in a data folder, and how much memory and "
        "disk it has\n\n%s",
        runtime::options_help(rows()).c_str());
    return 0;
  }
  if (auto words = no_words(options->positional()); !words)
    return std::fprintf(stderr, "flmctl: %s\n", words.error().message.c_str()), tools::kExitUsage;
  std::string data = options->given("data") ? options->text("data") : ClusterFolder::default_path();
  auto folder = ClusterFolder::existing(data);
  auto status = folder ? look(*folder) : proto::Result<ClusterStatus>(folder.error());
  bool nothing = !status && status.error().code == proto::Code::kNotFound;
  if (!status && !nothing)
    return std::fprintf(stderr, "flmctl: %s\n", status.error().message.c_str()), tools::kExitFailed;
  if (nothing || status->state == "stopped") {
    if (format == "json") std::printf("{\"state\": \"stopped\"}\n");
    std::fprintf(stderr, "flmctl: no cluster runs in %s; start one: flmctl up --data %s\n",
                 data.c_str(), data.c_str());
    return tools::kExitNotFound;
  }
  auto show = format == "json" ? status_json : status_text;
  std::fputs(show(*status, measure(*folder, *status), runtime::read_clock()).c_str(), stdout);
  return 0;
}

}  // namespace flame::flmctl

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/up_request.hpp"

#include "client/flmctl/up_ports.hpp"
#include "proto/limits.hpp"
#include "proto/text.hpp"
#include "runtime/options.hpp"

namespace flame::flmctl {

using proto::Code;
using proto::Error;

namespace {

std::vector<runtime::OptionRow> rows() {
  return {
      {.name = "data",
       .argument = "DIR",
       .help = "folder of the cluster (default $XDG_STATE_HOME/flame/default, else "
               "~/.local/state/flame/default)"},
      {.name = "port",
       .argument = "P",
       .fallback = "7700",
       .help = "client port; executors use P+1, HTTP P+80; 0 takes free ones"},
      {.name = "slots", .argument = "N", .help = "slots of each executor (default: cores)"},
      {.name = "executors",
       .argument = "N",
       .fallback = "1",
       .help = "executors; on a running cluster adds or drains to N (0 with --autoscale)"},
      {.name = "autoscale",
       .help = "start executors for each application as its tasks come, and stop idle ones"},
      {.name = "max-executors",
       .argument = "N",
       .help = "at most so many are started by --autoscale (default: 4 x cores)"},
      {.name = "redis",
       .argument = "URL",
       .help = "use this Redis (redis://host:port/db, unix:///path) rather than a private one; a "
               "password goes "
               "into FLAME_REDIS_URL"},
      {.name = "appendfsync",
       .argument = "WHEN",
       .fallback = "everysec",
       .help = "when the private Redis syncs to disk: everysec or always"},
      {.name = "detach",
       .letter = 'd',
       .help = "return when the cluster is ready; flmctl down stops it"},
      {.name = "help", .letter = 'h', .help = "this text"},
  };
}

proto::Status read_redis(const runtime::Options& options, const std::string& environment,
                         UpRequest& request) {
  std::string url = options.text("redis");
  if (!url.empty() && without_password(url) != url) {
    return Error{
        Code::kBadRequest,
        "a password in --redis can be read by every user in the process list; put the URL into the "
        "environment: FLAME_REDIS_URL"};
  }
  // A password may stand in the environment for the Redis that the flag names.
  bool same = url.empty() || without_password(environment) == url;
  request.redis_url = !environment.empty() && same ? environment : url;
  if (request.redis_url.empty()) return {};
  bool known =
      request.redis_url.starts_with("redis://") || request.redis_url.starts_with("unix://");
  if (!known) {
    return Error{Code::kBadRequest, "'" +
                                        proto::printable(without_password(request.redis_url), 80) +
                                        "' is not redis://host:port/db or unix:///path"};
  }
  request.given.redis = without_password(request.redis_url);
  return {};
}

template <class Number>
proto::Status read_number(const runtime::Options& options, const char* name, uint64_t least,
                          uint64_t most, std::optional<Number>& out) {
  if (!options.given(name)) return {};
  auto number = options.number(name, least, most);
  if (!number) return number.error();
  out = static_cast<Number>(*number);
  return {};
}

}  // namespace

std::string up_help() {
  return "Usage: flmctl up [options]\n\n  start a local cluster: Redis, broker, executors; or what "
         "is missing of it\n\n" +
         runtime::options_help(rows());
}

proto::Status no_words(const std::vector<std::string>& words) {
  if (words.empty()) return {};
  return Error{Code::kBadRequest, "unexpected '" + proto::printable(words.front(), 60) +
                                      "'; --data DIR names a folder, --help lists the options"};
}

std::string without_password(const std::string& url) {
  size_t start = url.find("://");
  if (start == url.npos) return url;
  size_t end = std::min(url.find('/', start + 3), url.size());
  size_t at = url.rfind('@', end);
  if (at == url.npos || at < start) return url;
  return url.substr(0, start + 3) + url.substr(at + 1);
}

proto::Result<UpRequest> parse_up(int argc, const char* const* argv,
                                  const std::string& redis_environment) {
  auto options = runtime::Options::parse(rows(), argc, argv);
  if (!options) return options.error();
  if (auto status = no_words(options->positional()); !status) return status.error();
  UpRequest request{.data = options->text("data"),
                    .detach = options->flag("detach"),
                    .help = options->flag("help")};
  if (request.data.empty()) request.data = ClusterFolder::default_path();
  auto& given = request.given;
  given.verb = "up";
  if (auto s = read_number(*options, "port", 0, kPortMost, given.port); !s) return s.error();
  if (auto s = read_number(*options, "slots", 1, proto::kSlotsMax, given.slots); !s)
    return s.error();
  if (auto s = read_number(*options, "executors", 0, kExecutorsMost, given.executors); !s)
    return s.error();
  if (auto s = read_number(*options, "max-executors", 1, kExecutorsMost, given.max_executors); !s)
    return s.error();
  if (options->flag("autoscale")) given.autoscale = true;
  if (given.max_executors && !given.autoscale) {
    return Error{
        Code::kBadRequest,
        "--max-executors is for --autoscale; without it --executors says how many there are"};
  }
  if (auto s = read_redis(*options, redis_environment, request); !s) return s.error();
  if (options->given("appendfsync")) given.appendfsync = options->text("appendfsync");
  if (given.appendfsync && *given.appendfsync != "everysec" && *given.appendfsync != "always") {
    return Error{Code::kBadRequest, "--appendfsync is everysec or always, not '" +
                                        proto::printable(*given.appendfsync, 40) + "'"};
  }
  if (given.appendfsync && given.redis) {
    return Error{Code::kBadRequest, "--appendfsync is for the private Redis; that of " +
                                        *given.redis + " is set there"};
  }
  return request;
}

UpSettings settings_for(const ControlRequest& given, uint64_t cores) {
  UpSettings settings{.slots = cores};
  settings.port = given.port.value_or(settings.port);
  settings.slots = given.slots.value_or(settings.slots);
  settings.autoscale = given.autoscale.value_or(false);
  settings.executors = given.executors.value_or(settings.autoscale ? 0 : settings.executors);
  if (settings.autoscale)
    settings.max_executors = given.max_executors.value_or(std::min(kExecutorsMost, 4 * cores));
  settings.redis = given.redis.value_or("");
  settings.appendfsync = given.appendfsync.value_or(settings.appendfsync);
  return settings;
}

std::string difference(const ControlRequest& asked, const UpSettings& running) {
  auto differs = [](const std::string& name, const std::string& wanted, const std::string& is) {
    return "--" + name + " " + wanted + " differs from the running cluster's " + is +
           "; stop it first (flmctl down) or leave the flag out";
  };
  // Port 0 means any, and it has one.
  if (asked.port && *asked.port != 0 && *asked.port != running.port) {
    return differs("port", std::to_string(*asked.port), std::to_string(running.port));
  }
  if (asked.slots && *asked.slots != running.slots) {
    return differs("slots", std::to_string(*asked.slots), std::to_string(running.slots));
  }
  if (asked.autoscale && !running.autoscale)
    return "--autoscale: the running cluster has no autoscaler; stop it first (flmctl down)";
  if (asked.max_executors && *asked.max_executors != running.max_executors) {
    return differs("max-executors", std::to_string(*asked.max_executors),
                   std::to_string(running.max_executors));
  }
  if (asked.redis && *asked.redis != running.redis) {
    return differs("redis", *asked.redis, running.redis.empty() ? "private Redis" : running.redis);
  }
  if (asked.appendfsync && *asked.appendfsync != running.appendfsync) {
    return differs("appendfsync", *asked.appendfsync, running.appendfsync);
  }
  return "";
}

}  // namespace flame::flmctl

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "broker/app.hpp"
#include "proto/text.hpp"
#include "runtime/clock.hpp"
#include "runtime/log.hpp"
#include "runtime/options.hpp"
#include "runtime/process.hpp"

namespace {

using flame::proto::Code;
using flame::proto::Error;
using flame::runtime::OptionRow;

const std::vector<OptionRow> kOptions = {
    {"listen", 'l', "HOST:PORT", "127.0.0.1:7700",
     "Address for clients; executors connect to PORT + 1, HTTP is on PORT + 80. Port 0 takes free "
     "ones"},
    {"insecure", 0, "", "", "Allow --listen beyond loopback: anybody who reaches it can run code"},
    {"redis-url", 0, "URL", "redis://127.0.0.1:6379/0",
     "Redis, as redis://host:port/db or unix:///path; may hold a password, so not a flag", true},
    {"redis-password-file", 0, "FILE", "", "File with the password, readable by its owner only"},
    {"allow-volatile-redis", 0, "", "",
     "Accept a Redis without AOF; `stored` is then reported as memory"},
    {"replicas", 0, "N", "1", "Replicas of Redis that must have what is `replicated`"},
    {"cluster", 0, "NAME", "default", "Name that clients and executors may ask for"},
    {"data", 0, "DIR", "", "Folder after which the ring is named"},
    {"ring-dir", 0, "DIR", "/dev/shm", "Where the ring file lies; must outlive the process"},
    {"ring-size", 0, "SIZE", "256MiB", "Size of the ring; full, it slows submits"},
    {"takeover-grace", 0, "TIME", "10s",
     "How long a Redis that just started is left to a broker that has the ring"},
    {"ready-file", 0, "FILE", "", "Written when serving: JSON with the endpoints"},
    {"log-level", 0, "LEVEL", "info", "debug, info, warn or error"},
    {"log-format", 0, "FORMAT", "text", "text or json"},
    {"config", 0, "FILE", "/etc/flame/broker.yaml", "YAML file with these options as keys"},
    {"help", 'h', "", "", "This text"},
    {"version", 'V', "", "", "The version"},
};

int fail(const Error& error) {
  std::fprintf(stderr, "flame-broker: %s\n", error.message.c_str());
  return error.code == Code::kBadRequest ? 2 : 1;
}

flame::proto::Status read_listen(const std::string& text, bool insecure,
                                 flame::broker::AppConfig& config) {
  auto colon = text.rfind(':');
  auto port = colon == text.npos
                  ? std::nullopt
                  : flame::proto::parse_number<uint16_t>(std::string_view(text).substr(colon + 1));
  if (!port || *port > 65535 - 80)
    return Error{Code::kBadRequest, "--listen must be HOST:PORT, not " + text};
  config.address = text.substr(0, colon);
  config.port = *port;
  bool loopback = config.address.starts_with("127.") || config.address == "localhost";
  if (config.address == "localhost") config.address = "127.0.0.1";
  if (!loopback && !insecure) {
    return Error{
        Code::kRefused,
        "--listen " + config.address +
            " reaches beyond this machine and there are no "
            "keys yet: anybody could run code here. If the network is trusted, say --insecure"};
  }
  config.insecure = !loopback;
  return {};
}

flame::proto::Result<std::string> read_password(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  auto mode = fs::status(path, error).permissions();
  if (error) return Error{Code::kSystem, "cannot read " + path + ": " + error.message()};
  if ((mode & (fs::perms::group_all | fs::perms::others_all)) != fs::perms::none) {
    return Error{Code::kRefused, path + " is readable by others; chmod 600 it"};
  }
  std::string password;
  std::getline(std::ifstream(path) >> std::ws, password);
  return password;
}

flame::proto::Status read_store(const flame::runtime::Options& options,
                                flame::broker::AppConfig& config) {
  auto redis = flame::runtime::parse_redis_url(options.text("redis-url"));
  if (!redis) return redis.error();
  if (auto path = options.text("redis-password-file"); !path.empty()) {
    auto password = read_password(path);
    if (!password) return password.error();
    redis->password = *password;
  }
  auto ring = options.size("ring-size");
  if (!ring) return ring.error();
  auto replicas = options.number("replicas", 1, 100);
  if (!replicas) return replicas.error();
  config.store.replicas = config.core.replicas = *replicas;
  auto grace = options.duration_ms("takeover-grace");
  if (!grace) return grace.error();
  config.store.takeover_grace_us = static_cast<int64_t>(*grace) * flame::proto::kUsPerMs;
  config.store.redis = *redis;
  config.store.cluster = config.core.cluster;
  config.store.data_folder = options.text("data");
  config.store.ring_folder = options.text("ring-dir");
  config.store.ring_bytes = *ring;
  config.store.allow_volatile = options.flag("allow-volatile-redis");
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  auto options = flame::runtime::Options::parse(kOptions, argc, argv);
  if (!options) return fail(options.error());
  if (options->flag("help")) {
    std::printf(
        "flame-broker: queues the tasks of sessions in Redis and gives them to executors\n\n%s",
        flame::runtime::options_help(kOptions).c_str());
    return 0;
  }
  if (options->flag("version")) return std::printf("flame-broker %s\n", FLAME_VERSION), 0;
  if (!options->positional().empty()) {
    return fail({Code::kBadRequest,
                 "unexpected '" + options->positional()[0] + "'; --help lists the options"});
  }
  auto log =
      flame::runtime::log::start("broker", options->text("log-level"), options->text("log-format"));
  if (!log) return fail(log.error());
  flame::broker::AppConfig config;
  if (auto s = read_listen(options->text("listen"), options->flag("insecure"), config); !s)
    return fail(s.error());
  config.ready_file = options->text("ready-file");
  config.core.cluster = options->text("cluster");
  config.core.version = FLAME_VERSION;
  config.core.seed = flame::runtime::random_u64();
  if (auto s = read_store(*options, config); !s) return fail(s.error());
  flame::runtime::forget_environment("FLAME_REDIS_URL");  // it may hold a password
  constexpr uint64_t kFewFiles = 4096;
  if (uint64_t files = flame::runtime::take_all_descriptors(); files < kFewFiles) {
    flame::runtime::log::warn("few open files are allowed here; each peer needs one (ulimit -Hn)",
                              {{"files", std::to_string(files)}});
  }
  int code = 0;
  bool threads_remain = false;
  {
    flame::broker::App app(std::move(config));
    if (auto status = app.start(); !status) return fail(status.error());
    code = app.run();
    threads_remain = app.threads_remain();
  }
  if (threads_remain) std::_Exit(code);
  return code;
}

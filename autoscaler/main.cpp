// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <cstdio>

#include "autoscaler/app.hpp"
#include "autoscaler/settings.hpp"
#include "runtime/log.hpp"
#include "runtime/process.hpp"

namespace {

using flame::proto::Code;
using flame::proto::Error;

int fail(const Error& error) {
  std::fprintf(stderr, "flame-autoscaler: %s\n", error.message.c_str());
  return error.code == Code::kBadRequest ? 2 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const auto& rows = flame::autoscaler::option_rows();
  auto options = flame::runtime::Options::parse(rows, argc, argv);
  if (!options) return fail(options.error());
  if (options->flag("help")) {
    std::printf("flame-autoscaler: starts executors as tasks come, and lets idle ones go\n\n%s",
                flame::runtime::options_help(rows).c_str());
    return 0;
  }
  if (options->flag("version")) return std::printf("flame-autoscaler %s\n", FLAME_VERSION), 0;
  if (!options->positional().empty()) {
    return fail({Code::kBadRequest,
                 "unexpected '" + options->positional()[0] + "'; --help lists the options"});
  }
  auto pods = flame::autoscaler::is_kubernetes(*options);
  if (!pods) return fail(pods.error());
  if (!*pods && options->text("control").empty()) {
    return fail({Code::kBadRequest,
                 "--control is missing: whose executors? flmctl up --autoscale starts both"});
  }
  auto log = flame::runtime::log::start("autoscaler", options->text("log-level"),
                                        options->text("log-format"));
  if (!log) return fail(log.error());
  auto policy = flame::autoscaler::policy_from(*options);
  if (!policy) return fail(policy.error());
  auto redis = flame::runtime::parse_redis_url(options->text("redis-url"));
  if (!redis) return fail(redis.error());
  flame::runtime::forget_environment("FLAME_REDIS_URL");  // it may hold a password
  flame::autoscaler::AppConfig config{.policy = *policy,
                                      .redis = *redis,
                                      .broker = flame::autoscaler::broker_from(*options),
                                      .cluster = options->text("cluster"),
                                      .control_socket = options->text("control"),
                                      .dry_run = options->flag("dry-run")};
  if (*pods) {
    auto settings = flame::autoscaler::kubernetes_from(*options, *policy);
    if (!settings) return fail(settings.error());
    config.kubernetes = std::move(*settings);
    // It must not keep one that acts from acting.
    if (config.dry_run) config.kubernetes->identity.clear();
  }
  return flame::autoscaler::App(std::move(config)).run();
}

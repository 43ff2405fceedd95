// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "executor/app.hpp"
#include "proto/text.hpp"
#include "runtime/clock.hpp"
#include "runtime/log.hpp"
#include "runtime/options.hpp"
#include "runtime/process.hpp"

namespace {

using flame::proto::Code;
using flame::proto::Error;
using flame::runtime::OptionRow;
using flame::runtime::Options;

const std::vector<OptionRow> kOptions = {
    {"broker", 'b', "ENDPOINT", "tcp://127.0.0.1:7701", "The broker's endpoint for executors"},
    {"endpoint", 0, "ENDPOINT", "",
     "Where services find it as clients; default: one port below --broker"},
    {"cluster", 0, "NAME", "", "What the broker's cluster must be called; default: any"},
    {"id", 0, "NAME", "", "Name of this executor; default: host name and 6 letters"},
    {"slots", 0, "N", "", "Services that run at the same time; default: cores"},
    {"application", 0, "NAME", "", "Serve only this application; default: all"},
    {"idle-exit", 0, "DURATION", "0", "Leave after so long without a bound slot; 0: never"},
    {"work-dir", 0, "DIR", "", "Folder for services without one; default: a new one in TMPDIR"},
    {"log-level", 0, "LEVEL", "info", "debug, info, warn or error"},
    {"log-format", 0, "FORMAT", "text", "text or json"},
    {"help", 'h', "", "", "This text"},
    {"version", 'V', "", "", "The version"},
};

int fail(const Error& error) {
  std::fprintf(stderr, "flame-executor: %s\n", error.message.c_str());
  return error.code == Code::kBadRequest ? 2 : 1;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// A pod knows itself through the downward API.
std::string provider() {
  std::string uid = environment("FLAME_POD_UID");
  if (uid.empty()) return "process " + std::to_string(getpid());
  return "pod " + environment("FLAME_POD_NAMESPACE") + "/" + environment("FLAME_POD_NAME") + " " +
         uid;
}

flame::proto::Status read_core(const Options& options, flame::executor::Config& config) {
  config.id = options.text("id");
  if (config.id.empty()) {
    config.id = flame::runtime::host_name().substr(0, 64) + "-" + flame::runtime::random_letters(6);
  }
  if (auto id = flame::proto::check_name("executor", config.id); !id) return id.error();
  config.slots = std::max(1u, std::thread::hardware_concurrency());
  if (options.given("slots")) {
    auto slots = options.number("slots", 1, flame::proto::kSlotsMax);
    if (!slots) return slots.error();
    config.slots = *slots;
  }
  auto idle_exit = options.duration_ms("idle-exit");
  if (!idle_exit) return idle_exit.error();
  config.idle_exit_us = static_cast<int64_t>(*idle_exit) * flame::proto::kUsPerMs;
  config.cluster = options.text("cluster");
  config.application = options.text("application");
  config.nonce = flame::runtime::random_hex(16);
  config.address = flame::runtime::host_name() + ":" + std::to_string(getpid());
  config.provider = provider();
  config.version = FLAME_VERSION;
  config.first_link = static_cast<uint32_t>(flame::runtime::random_u64());
  return {};
}

flame::proto::Status read_place(const Options& options, flame::executor::AppConfig& config) {
  namespace fs = std::filesystem;
  std::error_code error;
  config.place.program_directory = flame::shims::program_directory();
  config.place.endpoint = options.text("endpoint");
  if (config.place.endpoint.empty()) {
    config.place.endpoint = flame::proto::client_endpoint_of(config.broker);
  }
  config.place.cluster = config.core.cluster;
  auto& folder = config.place.work_directory;
  folder = options.text("work-dir");
  // Not by the id alone: two clusters on one machine have executors of the same id.
  if (folder.empty()) {
    folder = fs::temp_directory_path(error) /
             ("flame-" + config.core.id + "-" + flame::runtime::random_letters(6));
  }
  if (!error) fs::create_directories(folder, error);
  if (!error) folder = fs::absolute(folder, error);
  if (error)
    return Error{Code::kSystem, "cannot use --work-dir " + folder + ": " + error.message()};
  return {};
}

int run(flame::executor::AppConfig config) {
  flame::executor::App app(std::move(config));
  if (auto status = app.start(); !status) return fail(status.error());
  return app.run();
}

}  // namespace

int main(int argc, char** argv) {
  auto options = Options::parse(kOptions, argc, argv);
  if (!options) return fail(options.error());
  if (options->flag("help")) {
    std::printf("flame-executor: runs tasks in services that it starts\n\n%s",
                flame::runtime::options_help(kOptions).c_str());
    return 0;
  }
  if (options->flag("version")) return std::printf("flame-executor %s\n", FLAME_VERSION), 0;
  if (!options->positional().empty()) {
    return fail({Code::kBadRequest,
                 "unexpected '" + options->positional()[0] + "'; --help lists the options"});
  }
  auto log = flame::runtime::log::start("executor", options->text("log-level"),
                                        options->text("log-format"));
  if (!log) return fail(log.error());
  flame::executor::AppConfig config;
  config.broker = options->text("broker");
  if (auto status = read_core(*options, config.core); !status) return fail(status.error());
  if (auto status = read_place(*options, config); !status) return fail(status.error());
  std::string made = options->text("work-dir").empty() ? config.place.work_directory : "";
  int code = run(std::move(config));
  // The services have ended with the App: nobody works in it any more.
  std::error_code ignored;
  if (!made.empty()) std::filesystem::remove_all(made, ignored);
  return code;
}

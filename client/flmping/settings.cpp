// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmping/settings.hpp"

#include "proto/limits.hpp"
#include "proto/text.hpp"
#include "runtime/options.hpp"

namespace flame::ping {

using proto::Code;
using proto::Error;
using runtime::OptionRow;

namespace {

#ifdef FLAME_HAS_GRPC
constexpr bool kHasGrpc = true;
#else
constexpr bool kHasGrpc = false;
#endif

const std::vector<OptionRow>& rows() {
  static const std::vector<OptionRow> kRows = {
      {"task-num", 't', "N", "10", "how many tasks to run"},
      {"common-data", 'c', "TEXT", "", "kept with the session, given to every instance"},
      {"duration", 'd', "MS", "0", "how long each task sleeps, milliseconds"},
      {"memory", 'm', "SIZE", "0", "how much memory each task allocates: 64KiB, 1MiB"},
      {"perf", 'p', "", "", "show throughput and where the time went"},
      {"priority", 'P', "N", "0", "priority of the session (kept and shown, not acting yet)"},
      {"resreq", 'r', "TEXT", "", "resources per instance (kept and shown, not acting yet)"},
      {"input-size", 0, "SIZE", "64", "bytes per input: 64, 1KiB, 1MiB"},
      {"output-size", 0, "SIZE", "64", "bytes per output"},
      // FLAME_SHIM is that of the service that asks.
      {"shim", 0, "KIND", "native", "how the service is reached: native, shell or grpc", false,
       true},
      {"durability", 0, "LEVEL", "stored",
       "what an acknowledgement means: memory, stored, synced, replicated"},
      {"latency", 0, "", "", "one task at a time, after 100 that are not counted"},
      {"timeout", 0, "TIME", "60s", "give up after this long without progress; 0: never"},
      {"output", 'o', "FORMAT", "", "json: one object on stdout and nothing else"},
      {"endpoint", 0, "URL", "", "broker; default: FLAME_ENDPOINT, else the local cluster"},
      {"cluster", 0, "NAME", "", "what the broker's cluster must be called; default: any"},
      {"help", 'h', "", "", "this text"},
      {"version", 0, "", "", "print the version"},
  };
  return kRows;
}

proto::Status read_sizes(const runtime::Options& options, Settings& settings) {
  struct Size {
    const char* name;
    uint64_t most;
    uint64_t& out;
  };
  for (auto& size : {Size{"input-size", proto::kPayloadBytesMax, settings.input_size},
                     Size{"output-size", proto::kPayloadBytesMax, settings.output_size},
                     Size{"memory", uint64_t{1} << 40, settings.memory_bytes}}) {
    auto value = options.size(size.name);
    if (!value) return value.error();
    if (*value > size.most) {
      return Error{Code::kTooLarge, "--" + std::string(size.name) + " may be at most " +
                                        std::to_string(size.most) + " bytes"};
    }
    size.out = *value;
  }
  return {};
}

proto::Status read_numbers(const runtime::Options& options, Settings& settings) {
  struct Number {
    const char* name;
    uint64_t least, most;
    uint64_t& out;
  };
  constexpr uint64_t kTasksMax = 10'000'000'000;
  constexpr uint64_t kDay = 24ull * 3600 * 1000;
  for (auto& number : {Number{"task-num", 1, kTasksMax, settings.tasks},
                       Number{"duration", 0, kDay, settings.duration_ms},
                       Number{"priority", 0, UINT32_MAX, settings.priority}}) {
    auto value = options.number(number.name, number.least, number.most);
    if (!value) return value.error();
    number.out = *value;
  }
  auto timeout = options.duration_ms("timeout");
  if (!timeout) return timeout.error();
  settings.timeout_ms = *timeout;
  return {};
}

proto::Status read_choices(const runtime::Options& options, Settings& settings) {
  auto level = proto::durability_from(options.text("durability"));
  if (!level) {
    return Error{Code::kBadRequest,
                 "--durability must be memory, stored, synced or replicated, not '" +
                     proto::printable(options.text("durability"), 40) + "'"};
  }
  settings.durability = *level;
  settings.shim = options.text("shim");
  if (auto status = check_shim(settings.shim, kHasGrpc); !status) return status;
  for (const char* name : {"duration", "memory", "output-size"}) {
    if (settings.shim != "shell" || !options.given(name)) continue;
    return Error{Code::kBadRequest, std::string("--") + name +
                                        " is for the other shims: that of shell is /bin/cat, "
                                        "which gives back its input"};
  }
  if (settings.shim == "shell") settings.output_size = settings.input_size;
  auto output = options.text("output");
  if (!output.empty() && output != "json") {
    return Error{Code::kBadRequest, "-o must be json, not '" + proto::printable(output, 40) + "'"};
  }
  settings.json = output == "json";
  return {};
}

}  // namespace

proto::Result<Settings> parse_settings(int argc, const char* const* argv) {
  auto options = runtime::Options::parse(rows(), argc, argv);
  if (!options) return options.error();
  Settings settings;
  settings.help = options->flag("help");
  settings.version = options->flag("version");
  if (settings.help || settings.version) return settings;
  if (!options->positional().empty()) {
    return Error{Code::kBadRequest, "unexpected argument '" +
                                        proto::printable(options->positional().front(), 60) + "'"};
  }
  for (auto read : {read_sizes, read_numbers, read_choices}) {
    if (auto status = read(*options, settings); !status) return status.error();
  }
  settings.common_data = options->text("common-data");
  settings.resources = options->text("resreq");
  settings.endpoint = options->text("endpoint");
  settings.cluster = options->text("cluster");
  settings.perf = options->flag("perf");
  settings.latency = options->flag("latency");
  return settings;
}

std::string help_text() {
  return "Usage: flmping [options]\n\n"
         "Runs tasks that do nothing (or sleep, or use memory) through the cluster and\n"
         "says how fast.\n\n" +
         runtime::options_help(rows()) +
         "\nExit codes: 0 all succeeded, 1 failed, 2 usage, 4 some tasks failed,\n"
         "5 no broker, 124 no progress, 130 interrupted.\n"
         "Example: flmping -t 1000000 -p\n";
}

std::string common_data_of(const Settings& settings) {
  std::string text = "output-size=" + std::to_string(settings.output_size) + "\n" +
                     "duration-ms=" + std::to_string(settings.duration_ms) + "\n" +
                     "memory=" + std::to_string(settings.memory_bytes) + "\n";
  if (!settings.common_data.empty()) text += "common-data=" + settings.common_data + "\n";
  return text;
}

proto::Status check_shim(const std::string& shim, bool has_grpc) {
  if (shim == "native" || shim == "shell" || (shim == "grpc" && has_grpc)) return {};
  if (shim == "grpc") {
    return Error{Code::kUnsupported,
                 "--shim grpc: this Flame was built without gRPC (-DFLAME_GRPC=OFF); --shim is "
                 "native or shell"};
  }
  return Error{Code::kBadRequest,
               "--shim must be native, shell or grpc, not '" + proto::printable(shim, 40) + "'"};
}

std::string application_of(const Settings& settings) {
  return settings.shim == "native" ? "flmping" : "flmping-" + settings.shim;
}

}  // namespace flame::ping

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// flame-ceiling broker | executor | client: bench/run.py starts the three (the executor forks the
// fourth).

#include <cstdio>
#include <cstdlib>

#include "bench/ceiling/processes.hpp"
#include "runtime/options.hpp"

namespace flame::ceiling {

namespace {

const std::vector<runtime::OptionRow>& rows() {
  static const std::vector<runtime::OptionRow> kRows = {
      {"redis", 0, "PATH", "", "unix socket of a Redis of its own"},
      {"clients", 0, "URL", "", "endpoint between client and broker"},
      {"executors", 0, "URL", "", "endpoint between broker and executor"},
      {"ring-dir", 0, "DIR", "/dev/shm", "where the broker maps its ring"},
      {"tasks", 't', "N", "1000000", "how many tasks to run"},
      {"batch", 0, "N", "1024", "tasks in a submit"},
      {"window", 0, "N", "100000", "tasks without a result; 0: as many as 64 submits allow"},
      {"credit", 0, "N", "8192", "tasks that the executor holds"},
      {"input-size", 0, "SIZE", "64", "bytes per input and output"},
      {"spin-us", 0, "N", "0", "the broker polls for so long after it sent a batch"},
      {"latency", 0, "", "", "one task at a time, after 100 that are not counted"},
  };
  return kRows;
}

proto::Result<Settings> parse(int argc, char** argv) {
  auto options = runtime::Options::parse(rows(), argc, argv);
  if (!options) return options.error();
  Settings settings;
  if (options->positional().size() != 1) {
    return proto::Error{proto::Code::kBadRequest, "say broker, executor or client"};
  }
  settings.role = options->positional().front();
  settings.redis = options->text("redis");
  settings.clients = options->text("clients");
  settings.executors = options->text("executors");
  settings.ring = options->text("ring-dir");
  settings.latency = options->flag("latency");
  struct Number {
    const char* name;
    uint64_t least, most;
    uint64_t& out;
  };
  uint64_t spin = 0;
  for (auto& number : {Number{"tasks", 1, 1'000'000'000, settings.tasks},
                       {"batch", 1, 1024, settings.batch},
                       Number{"window", 0, 1'000'000'000, settings.window},
                       {"credit", 1, 1 << 20, settings.credit},
                       Number{"spin-us", 0, 1'000'000, spin}}) {
    auto value = options->number(number.name, number.least, number.most);
    if (!value) return value.error();
    number.out = *value;
  }
  settings.spin_us = static_cast<int64_t>(spin);
  auto size = options->size("input-size");
  if (!size) return size.error();
  settings.size = *size;
  return settings;
}

}  // namespace

void die(const std::string& what) {
  std::fprintf(stderr, "flame-ceiling: %s\n", what.c_str());
  std::exit(1);
}

}  // namespace flame::ceiling

int main(int argc, char** argv) {
  using namespace flame::ceiling;
  auto settings = parse(argc, argv);
  if (!settings) die(settings.error().message);
  if (settings->role == "broker") return run_broker(*settings);
  if (settings->role == "executor") return run_executor(*settings);
  if (settings->role == "client") return run_client(*settings);
  die("say broker, executor or client, not '" + settings->role + "'");
}

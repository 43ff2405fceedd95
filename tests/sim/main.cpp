// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// flame_sim --seed N [--verbose]         one run again
// flame_sim --fixed FILE                 every seed of a file, one a line
// flame_sim --seconds S [--base TEXT]    new seeds for S seconds, derived from TEXT (a commit),
// else from the time

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>

#include "tests/sim/simulation.hpp"

namespace {

using flame::sim::Outcome;

uint64_t running_seed = 0;

// An assertion of ours ends the process: its seed must be known all the same.
void on_abort(int) {
  char text[160];
  int size = std::snprintf(
      text, sizeof text,
      "\nseed %llu ended in an assertion; replay it with\n    flame_sim --seed %llu --verbose\n",
      static_cast<unsigned long long>(running_seed), static_cast<unsigned long long>(running_seed));
  if (write(STDERR_FILENO, text, static_cast<size_t>(size)) < 0) _exit(1);
  _exit(1);
}

struct Sum {
  uint64_t runs = 0, acknowledged = 0, results = 0, executed = 0, faults = 0, events = 0;
  double simulated_s = 0;
};

bool run(uint64_t seed, bool verbose, Sum& sum) {
  running_seed = seed;
  Outcome outcome = flame::sim::Simulation(seed, verbose).run();
  sum.runs++;
  sum.acknowledged += outcome.acknowledged;
  sum.results += outcome.results;
  sum.executed += outcome.executed;
  sum.faults += outcome.faults;
  sum.events += outcome.events;
  sum.simulated_s += static_cast<double>(outcome.simulated_us) / 1e6;
  if (outcome.failure.empty()) return true;
  std::printf(
      "seed %llu FAILED %s\nreplay it with\n    flame_sim --seed %llu --verbose\nand add it to "
      "tests/sim/seeds.txt\n",
      static_cast<unsigned long long>(seed), outcome.failure.c_str(),
      static_cast<unsigned long long>(seed));
  return false;
}

int report(const Sum& sum, double seconds, bool good) {
  std::printf(
      "%s: %llu runs, %.0f simulated s in %.1f s, %llu events, %llu faults, %llu tasks "
      "acknowledged, "
      "%llu results, %llu executions\n",
      good ? "passed" : "failed", static_cast<unsigned long long>(sum.runs), sum.simulated_s,
      seconds, static_cast<unsigned long long>(sum.events),
      static_cast<unsigned long long>(sum.faults),
      static_cast<unsigned long long>(sum.acknowledged),
      static_cast<unsigned long long>(sum.results), static_cast<unsigned long long>(sum.executed));
  return good ? 0 : 1;
}

uint64_t hash(const std::string& text) {  // FNV-1a
  uint64_t h = 14695981039346656037u;
  for (unsigned char c : text) h = (h ^ c) * 1099511628211u;
  return h;
}

struct Options {
  std::optional<uint64_t> seed;
  std::string fixed, base;
  double seconds = 0;
  bool verbose = false, keep_going = false;
};

std::optional<Options> parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i++) {
    std::string flag = argv[i];
    if (flag == "--verbose") {
      options.verbose = true;
    } else if (flag == "--keep-going") {
      options.keep_going = true;
    } else if (i + 1 == argc) {
      return std::nullopt;
    } else if (flag == "--seed") {
      options.seed = std::strtoull(argv[++i], nullptr, 10);
    } else if (flag == "--fixed") {
      options.fixed = argv[++i];
    } else if (flag == "--base") {
      options.base = argv[++i];
    } else if (flag == "--seconds") {
      options.seconds = std::atof(argv[++i]);
    } else {
      return std::nullopt;
    }
  }
  if (!options.seed && options.fixed.empty() && options.seconds <= 0) return std::nullopt;
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  auto options = parse(argc, argv);
  if (!options) {
    std::fprintf(stderr,
                 "usage: flame_sim --seed N [--verbose] | --fixed FILE | --seconds S [--base TEXT] "
                 " [--keep-going]\n");
    return 2;
  }
  signal(SIGABRT, on_abort);
  auto start = std::chrono::steady_clock::now();
  auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  Sum sum;
  bool good = true;
  auto goes_on = [&](uint64_t seed) {
    if (!run(seed, options->verbose, sum)) good = false;
    return good || options->keep_going;
  };
  if (options->seed) {
    goes_on(*options->seed);
  } else if (!options->fixed.empty()) {
    std::ifstream file(options->fixed);
    if (!file) std::fprintf(stderr, "cannot read %s\n", options->fixed.c_str());
    uint64_t seed = 0;
    while (file >> seed && goes_on(seed)) {
    }
    good = good && sum.runs > 0;
  } else {
    uint64_t from =
        hash(options->base.empty()
                 ? std::to_string(std::chrono::system_clock::now().time_since_epoch().count())
                 : options->base);
    while (elapsed() < options->seconds && goes_on((from++) % 1'000'000'000'000)) {
    }
  }
  return report(sum, elapsed(), good);
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Pi by throwing darts: each task throws as many as its input says and answers how many hit the
// circle. Shows results as they complete.
//
//   monte_carlo_pi [TASKS [DARTS_PER_TASK]]

#include <cstdio>
#include <filesystem>
#include <iostream>
#include <random>
#include <string_view>

#include "flame/flame.hpp"
#include "flame/service.hpp"

namespace {

class Darts : public flame::Service {
  flame::TaskOutput on_task_invoke(const flame::TaskContext& task) override {
    // The task's id is the seed: tried again, it answers the same.
    std::mt19937_64 random(task.task);
    std::uniform_real_distribution<double> side(0, 1);
    uint64_t darts = std::stoull(std::string(task.input)), hits = 0;
    for (uint64_t i = 0; i < darts; i++) {
      double x = side(random), y = side(random);
      if (x * x + y * y <= 1) hits++;
    }
    return std::to_string(hits);
  }
};

int throw_darts(uint64_t tasks, uint64_t darts) {
  auto client = flame::Client::connect();
  client.register_application({.name = "monte-carlo-pi",
                               .command = std::filesystem::read_symlink("/proc/self/exe"),
                               .arguments = {"service"}});
  auto session = client.create_session({.application = "monte-carlo-pi"});
  std::vector<std::string> inputs(tasks, std::to_string(darts));
  auto futures = session.submit_many(inputs);
  uint64_t hits = 0, thrown = 0;
  for (flame::Future& future : flame::as_completed(futures)) {
    hits += std::stoull(future.get());
    thrown += darts;
  }
  session.close();
  std::printf("pi is about %.4f after %llu darts\n",
              4.0 * static_cast<double>(hits) / static_cast<double>(thrown),
              static_cast<unsigned long long>(thrown));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "service") {
    Darts service;
    return flame::run(service);
  }
  try {
    return throw_darts(argc > 1 ? std::stoull(argv[1]) : 100,
                       argc > 2 ? std::stoull(argv[2]) : 100'000);
  } catch (const std::exception& error) {
    std::cerr << "monte_carlo_pi: " << error.what() << "\n";
    return 1;
  }
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// flame-bench-client: round trips as a program that uses the client library sees them, one task at
// a time: a thread submits, sleeps, is woken by the client's own thread. (flmping measures on that
// thread.) The counterpart of python_client.py's `latency`; prints one JSON object.
//
//     flame-bench-client COUNT APPLICATION

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "flame/flame.hpp"

int main(int argc, char** argv) {
  if (argc != 3) return std::fputs("usage: flame-bench-client COUNT APPLICATION\n", stderr), 2;
  size_t count = std::strtoul(argv[1], nullptr, 10);
  try {
    auto client = flame::Client::connect();
    auto session = client.create_session({.application = argv[2]});
    std::string input(64, 'x');
    std::vector<double> ms;
    for (size_t i = 0; i < count / 10 + count; i++) {
      auto began = std::chrono::steady_clock::now();
      session.submit(input).get();
      ms.push_back(
          std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
              .count());
    }
    session.close();
    ms.erase(ms.begin(), ms.begin() + static_cast<ptrdiff_t>(count / 10));  // to warm up
    std::sort(ms.begin(), ms.end());
    std::printf("{\"tasks\": %zu, \"latency_ms\": {\"p50\": %.4f, \"p99\": %.4f}}\n", count,
                ms.at(count / 2), ms.at(count * 99 / 100));
  } catch (const std::exception& error) {
    std::cerr << "flame-bench-client: " << error.what() << "\n";
    return 1;
  }
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Usage: ask PATH_OF_REVERSE WORD...

#include <flame/flame.hpp>
#include <iostream>

int main(int argc, char** argv) {
  try {
    auto client = flame::Client::connect();
    client.register_application({.name = "reverse", .command = argv[1]});
    auto session = client.create_session({.application = "reverse"});
    std::vector<flame::Future> futures;
    for (int i = 2; i < argc; i++) futures.push_back(session.submit(argv[i]));
    for (const auto& future : futures) std::cout << future.get() << "\n";
    session.close();
    return 0;
  } catch (const flame::Error& error) {
    std::cerr << flame::to_string(error.code()) << ": " << error.what() << "\n";
    return 1;
  }
}

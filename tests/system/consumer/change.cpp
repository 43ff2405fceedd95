// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Usage: change PATH_OF_TELLER. Changes what a running session has, and looks at its tasks.

#include <flame/flame.hpp>
#include <iostream>

int main(int, char** argv) {
  try {
    auto client = flame::Client::connect();
    client.register_application(
        {.name = "teller", .command = argv[1], .environment = {{"WHO", "one"}}});
    auto session = client.create_session(
        {.application = "teller", .common_data = "first", .max_instances = 1});
    std::cout << session.submit("a").get() << "\n";

    client.update_application("teller", {.environment = {{{"WHO", "two"}}}});
    std::cout << session.submit("b").get() << "\n";
    auto version = session.update_common_data("second", session.common_data().version);
    std::cout << session.submit("c").get() << ", version " << version << ": "
              << session.common_data().data << "\n";
    try {
      session.update_common_data("third", 1);
    } catch (const flame::Error& error) {
      std::cout << flame::to_string(error.code()) << "\n";
    }

    auto waits = session.submit("wait");
    while (session.status().tasks < 4) continue;  // until the broker has it
    auto task = session.watch(4);
    while (task.percent != 50 && !task.finished()) task = session.watch(4, task);
    std::cout << to_string(task.state) << " " << task.percent << " " << task.progress << "\n";
    auto cancelled = session.cancel({}, true);
    while (!task.finished()) task = session.watch(4, task);
    std::cout << cancelled.pending << " " << cancelled.running << " " << to_string(task.state)
              << "\n";
    try {
      waits.get();
    } catch (const flame::Error& error) {
      std::cout << flame::to_string(error.code()) << "\n";
    }
    for (const auto& log : session.logs(1)) std::cout << log.text;
    for (const auto& event : session.events()) std::cout << event.code << " ";
    for (const auto& node : client.list_nodes()) {
      std::cout << node.executors << " " << node.slots << "\n";
    }
    session.close();
    return 0;
  } catch (const flame::Error& error) {
    std::cerr << flame::to_string(error.code()) << ": " << error.what() << "\n";
    return 1;
  }
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

#include <flame/service.hpp>

class Reverse : public flame::Service {
  flame::TaskOutput on_task_invoke(const flame::TaskContext& task) override {
    return std::string(task.input.rbegin(), task.input.rend());
  }
};

int main() {
  Reverse service;
  return flame::run(service);
}

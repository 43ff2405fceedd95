// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/sim/task.hpp"

#include "proto/text.hpp"

namespace flame::sim {

std::string Task::text() const {
  return std::to_string(number) + ":" + std::to_string(run_us) + ":" + kind;
}

std::optional<Task> Task::parse(std::string_view text) {
  auto first = text.find(':'), second = text.rfind(':');
  if (first == text.npos || first == second || second + 2 != text.size()) return std::nullopt;
  auto number = proto::parse_number<uint64_t>(text.substr(0, first));
  auto run_us = proto::parse_number<uint64_t>(text.substr(first + 1, second - first - 1));
  if (!number || !run_us) return std::nullopt;
  return Task{*number, *run_us, text.back()};
}

std::string output_of(std::string_view input) { return "=" + std::string(input); }

std::optional<Task> task_of_output(std::string_view output) {
  if (output.empty() || output.front() != '=') return std::nullopt;
  return Task::parse(output.substr(1));
}

}  // namespace flame::sim

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/sim/task.hpp"

#include "proto/text.hpp"

namespace flame::sim {

namespace {

constexpr std::string_view kCommon = "common ";

// The number before the next `:`, which is taken off as well.
std::optional<uint64_t> take_number(std::string_view& text) {
  auto colon = text.find(':');
  if (colon == text.npos) return std::nullopt;
  auto number = proto::parse_number<uint64_t>(text.substr(0, colon));
  text.remove_prefix(colon + 1);
  return number;
}

}  // namespace

std::string Task::text() const {
  return std::to_string(number) + ":" + std::to_string(run_us) + ":" + std::to_string(common) +
         ":" + kind;
}

std::optional<Task> Task::parse(std::string_view text) {
  auto number = take_number(text), run_us = take_number(text), common = take_number(text);
  if (!number || !run_us || !common || text.size() != 1) return std::nullopt;
  return Task{*number, *run_us, text.back(), *common};
}

std::string common_text(uint64_t serial) { return std::string(kCommon) + std::to_string(serial); }

uint64_t serial_of(std::string_view common) {
  if (!common.starts_with(kCommon)) return 0;
  return proto::parse_number<uint64_t>(common.substr(kCommon.size())).value_or(0);
}

std::string output_of(std::string_view input, uint64_t serial) {
  return "=" + std::to_string(serial) + ":" + std::string(input);
}

std::optional<Ran> ran_of_output(std::string_view output) {
  if (!output.starts_with('=')) return std::nullopt;
  output.remove_prefix(1);
  auto serial = take_number(output);
  auto task = serial ? Task::parse(output) : std::nullopt;
  if (!task) return std::nullopt;
  return Ran{*task, *serial};
}

}  // namespace flame::sim

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/sim/task.hpp"

#include "proto/text.hpp"

namespace flame::sim {

namespace {

constexpr std::string_view kCommon = "common ";
constexpr std::string_view kSerialVariable = "SERIAL";

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
         ":" + kind + (application == 0 ? "" : std::to_string(application));
}

std::optional<Task> Task::parse(std::string_view text) {
  auto number = take_number(text), run_us = take_number(text), common = take_number(text);
  if (!number || !run_us || !common || text.empty()) return std::nullopt;
  auto application = text.size() == 1 ? uint64_t{0} : proto::parse_number<uint64_t>(text.substr(1));
  if (!application) return std::nullopt;
  return Task{*number, *run_us, text.front(), *common, *application};
}

std::string common_text(uint64_t serial) { return std::string(kCommon) + std::to_string(serial); }

uint64_t serial_of(std::string_view common) {
  if (!common.starts_with(kCommon)) return 0;
  return proto::parse_number<uint64_t>(common.substr(kCommon.size())).value_or(0);
}

proto::Map changes_of(uint64_t serial) {
  return {{"environments", proto::Map{{std::string(kSerialVariable), std::to_string(serial)}}}};
}

uint64_t serial_of(const proto::Application& application) {
  for (const auto& [name, text] : application.environment) {
    if (name == kSerialVariable) return proto::parse_number<uint64_t>(text).value_or(0);
  }
  return 0;
}

std::string output_of(std::string_view input, const Serials& serials) {
  return "=" + std::to_string(serials.common) + ":" + std::to_string(serials.application) + ":" +
         std::string(input);
}

std::optional<Ran> ran_of_output(std::string_view output) {
  if (!output.starts_with('=')) return std::nullopt;
  output.remove_prefix(1);
  auto common = take_number(output), application = take_number(output);
  auto task = common && application ? Task::parse(output) : std::nullopt;
  if (!task) return std::nullopt;
  return Ran{*task, {*common, *application}};
}

}  // namespace flame::sim

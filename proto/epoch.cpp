// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "proto/epoch.hpp"

#include <charconv>

#include "proto/text.hpp"

namespace flame::proto {

std::string Epoch::text() const {
  char hex[16];
  auto end = std::to_chars(hex, hex + sizeof hex, random, 16).ptr;
  return std::to_string(number) + "-" + std::string(hex, end);
}

std::optional<Epoch> Epoch::parse(std::string_view text) {
  auto dash = text.find('-');
  if (dash == text.npos) return std::nullopt;
  auto number = parse_number<uint64_t>(text.substr(0, dash));
  uint64_t random = 0;
  auto hex = text.substr(dash + 1);
  auto [end, error] = std::from_chars(hex.data(), hex.data() + hex.size(), random, 16);
  if (!number || error != std::errc{} || end != hex.data() + hex.size()) return std::nullopt;
  return Epoch{*number, random};
}

bool NewestEpoch::accept(const std::string& lineage, std::string_view epoch) {
  auto said = Epoch::parse(epoch);
  if (!said) return true;
  if (lineage == lineage_ && said->number < number_) return false;
  lineage_ = lineage;
  number_ = said->number;
  return true;
}

}  // namespace flame::proto

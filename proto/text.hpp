// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Text from outside made safe to show, and numbers made short to write.

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace flame::proto {

/// `text` cut to `size_max` characters with everything that is not printable ASCII as \xNN: safe in
/// a log line, a terminal and an error message, whoever sent it.
std::string printable(std::string_view text, size_t size_max = 256);

/// The nearest of `candidates` to a mistyped `word`, or "" where none is near (distance above a
/// third).
template <class Range>
std::string_view nearest(std::string_view word, const Range& candidates);

/// Levenshtein distance, case ignored.
size_t edit_distance(std::string_view a, std::string_view b);

/// Appends a decimal number without a temporary string.
inline void append_number(std::string& out, uint64_t value) {
  char digits[20];
  auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out.append(digits, end);
}

/// The whole of `text` as a number, or nothing.
template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Clients have the port below that of executors, wherever nobody says otherwise; "" where the
/// endpoint has no such port.
inline std::string client_endpoint_of(const std::string& executors_endpoint) {
  auto colon = executors_endpoint.rfind(':');
  if (colon == std::string::npos) return "";
  auto port = parse_number<uint16_t>(std::string_view(executors_endpoint).substr(colon + 1));
  if (!port || *port < 2) return "";
  return executors_endpoint.substr(0, colon + 1) + std::to_string(*port - 1);
}

template <class Range>
std::string_view nearest(std::string_view word, const Range& candidates) {
  std::string_view best;
  size_t best_distance = word.size() / 3 + 2;
  for (std::string_view candidate : candidates) {
    size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) best = candidate, best_distance = distance;
  }
  return best;
}

}  // namespace flame::proto

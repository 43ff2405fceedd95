// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "examples/services/ping.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <stdexcept>
#include <thread>

namespace flame::services {

namespace {

uint64_t number_of(std::string_view name, std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size()) return value;
  throw std::invalid_argument("flmping: " + std::string(name) +
                              " in the common data must be a number, not `" + std::string(text) +
                              "`");
}

}  // namespace

void Pong::enter(std::string_view common_data) {
  output_size_ = 64, duration_ms_ = 0, memory_ = 0;
  for (auto rest = common_data; !rest.empty();) {
    auto line = rest.substr(0, rest.find('\n'));
    if (line.starts_with("common-data=")) return;
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (!line.empty()) set(line);
  }
}

void Pong::set(std::string_view line) {
  auto equals = line.find('=');
  auto name = line.substr(0, equals);
  auto text = equals == std::string_view::npos ? "" : line.substr(equals + 1);
  if (name == "output-size") {
    output_size_ = number_of(name, text);
  } else if (name == "duration-ms") {
    duration_ms_ = number_of(name, text);
  } else if (name == "memory") {
    memory_ = number_of(name, text);
  } else {
    throw std::invalid_argument("flmping: no parameter `" + std::string(name) +
                                "`: there are output-size, duration-ms and memory");
  }
}

std::string Pong::answer(std::string_view task) const {
  if (memory_ > 0) {
    std::string touched(memory_, '\1');
    asm volatile("" : : "r"(touched.data()) : "memory");  // or the compiler leaves it out
  }
  std::string text = "pong " + std::string(task);
  if (duration_ms_ > 0) text += " took " + std::to_string(sleep_us());
  text.resize(output_size_, ' ');
  return text;
}

int64_t Pong::sleep_us() const {
  auto began = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(std::chrono::milliseconds(duration_ms_));
  auto took = std::chrono::steady_clock::now() - began;
  return std::chrono::duration_cast<std::chrono::microseconds>(took).count();
}

}  // namespace flame::services

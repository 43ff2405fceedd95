// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "proto/elements.hpp"

#include <algorithm>

namespace flame::proto {

namespace {

struct Extent {
  size_t header;
  size_t content;
};

// The extent of the element at `at`, or header 0 if there is none.
inline Extent extent_at(const unsigned char* p, size_t size, size_t at) {
  size_t left = size - at;
  if (left < 2) return {0, 0};
  switch (p[at]) {
    case 0xc4:
      return {2, p[at + 1]};
    case 0xc5:
      if (left < 3) return {0, 0};
      return {3, static_cast<size_t>(p[at + 1] << 8 | p[at + 2])};
    case 0xc6:
      if (left < 5) return {0, 0};
      return {5, static_cast<size_t>(p[at + 1]) << 24 | static_cast<size_t>(p[at + 2]) << 16 |
                     static_cast<size_t>(p[at + 3]) << 8 | p[at + 4]};
    default:
      return {0, 0};
  }
}

}  // namespace

std::optional<size_t> skip_elements(std::string_view payload, uint64_t count) {
  auto p = reinterpret_cast<const unsigned char*>(payload.data());
  size_t at = 0;
  for (uint64_t i = 0; i < count; i++) {
    Extent extent = extent_at(p, payload.size(), at);
    if (extent.header == 0 || extent.content > payload.size() - at - extent.header) {
      return std::nullopt;
    }
    at += extent.header + extent.content;
  }
  return at;
}

size_t largest_element(std::string_view payload, uint64_t count) {
  auto p = reinterpret_cast<const unsigned char*>(payload.data());
  size_t at = 0, largest = 0;
  for (uint64_t i = 0; i < count && at < payload.size(); i++) {
    Extent extent = extent_at(p, payload.size(), at);
    if (extent.header == 0) break;
    largest = std::max(largest, extent.content);
    at += extent.header + extent.content;
  }
  return largest;
}

size_t element_size(size_t content_size) {
  return content_size + (content_size < 256 ? 2 : content_size < 65536 ? 3 : 5);
}

void append_element(std::string& payload, std::string_view content) {
  auto byte = [](size_t value) { return static_cast<char>(value & 255); };
  size_t size = content.size();
  if (size < 256) {
    payload += {'\xc4', byte(size)};
  } else if (size < 65536) {
    payload += {'\xc5', byte(size >> 8), byte(size)};
  } else {
    payload += {'\xc6', byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)};
  }
  payload += content;
}

std::optional<std::string_view> ElementReader::next() {
  Extent extent = extent_at(reinterpret_cast<const unsigned char*>(rest_.data()), rest_.size(), 0);
  if (extent.header == 0 || extent.content > rest_.size() - extent.header) return std::nullopt;
  auto content = rest_.substr(extent.header, extent.content);
  rest_.remove_prefix(extent.header + extent.content);
  return content;
}

std::string array_header(uint64_t count) {
  auto byte = [](uint64_t value) { return static_cast<char>(value & 255); };
  if (count < 16) return {static_cast<char>(0x90 | count)};
  if (count < 65536) return {'\xdc', byte(count >> 8), byte(count)};
  return {'\xdd', byte(count >> 24), byte(count >> 16), byte(count >> 8), byte(count)};
}

}  // namespace flame::proto

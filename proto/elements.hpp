// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The payload frame of a run: its elements one after the other, each a msgpack bin, without array
// header, so that every sub-range is a contiguous slice.
//
//   c4 len8 bytes | c5 len16 bytes | c6 len32 bytes      (big endian; the shortest form is not
//   required)

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace flame::proto {

/// Where element `count` begins, counted from the start of `payload` (0 for count 0); nothing if
/// the payload ends before or an element is not a bin. One pass over the lengths, no byte of
/// content is read.
std::optional<size_t> skip_elements(std::string_view payload, uint64_t count);

/// True if the payload is exactly `count` elements.
inline bool is_elements(std::string_view payload, uint64_t count) {
  auto end = skip_elements(payload, count);
  return end && *end == payload.size();
}

/// The largest element's content size in a valid payload of `count` elements.
size_t largest_element(std::string_view payload, uint64_t count);

void append_element(std::string& payload, std::string_view content);

/// Bytes that an element of `content_size` takes.
size_t element_size(size_t content_size);

/// Takes the elements of a payload one by one: `while (auto e = reader.next()) use(*e);`
class ElementReader {
 public:
  explicit ElementReader(std::string_view payload) : rest_(payload) {}
  std::optional<std::string_view> next();
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

/// The header that makes `count` elements a msgpack array, as a stored run has it.
std::string array_header(uint64_t count);

}  // namespace flame::proto

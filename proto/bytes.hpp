// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Immutable bytes with a shared owner: a payload is received once and then stands at the same time
// in the batch on its way to Redis, in the broker's memory and in an outgoing message. Nobody
// copies it.

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace flame::proto {

/// A slice of bytes somebody keeps alive. Copying shares the owner; slicing costs no allocation.
/// Thread rule: the bytes never change, so slices may be read and released on any thread.
class Bytes {
 public:
  Bytes() = default;

  /// Takes a string over; no copy.
  static Bytes own(std::string&& text) {
    auto owner = std::make_shared<const std::string>(std::move(text));
    std::string_view view = *owner;
    return Bytes(std::move(owner), view);
  }
  static Bytes copy(std::string_view view) { return own(std::string(view)); }
  /// Bytes that live in something else (a received ZeroMQ frame); `owner` frees them.
  static Bytes share(std::shared_ptr<const void> owner, std::string_view view) {
    return Bytes(std::move(owner), view);
  }

  std::string_view view() const { return view_; }
  const char* data() const { return view_.data(); }
  size_t size() const { return view_.size(); }
  bool empty() const { return view_.empty(); }

  /// The part [offset, offset + size); both must lie inside.
  Bytes slice(size_t offset, size_t size) const {
    return Bytes(owner_, view_.substr(offset, size));
  }

  friend bool operator==(const Bytes& a, const Bytes& b) { return a.view_ == b.view_; }

 private:
  Bytes(std::shared_ptr<const void> owner, std::string_view view)
      : owner_(std::move(owner)), view_(view) {}

  // shared_ptr on purpose (style 3.5 asks for a reason): batch, queue and socket end in any order.
  std::shared_ptr<const void> owner_;
  std::string_view view_;
};

}  // namespace flame::proto

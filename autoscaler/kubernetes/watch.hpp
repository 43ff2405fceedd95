// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A watch's stream: a JSON object a line. Pure.

#include <string>
#include <string_view>
#include <vector>

#include "proto/error.hpp"
#include "proto/value.hpp"

namespace flame::autoscaler::kubernetes {

/// Cuts what comes in pieces into lines; what is left when the stream ends is no line.
class Lines {
 public:
  explicit Lines(size_t line_max) : line_max_(line_max) {}

  /// The lines that this piece completes. An error if one is longer than it may be.
  proto::Result<std::vector<std::string>> feed(std::string_view piece);

 private:
  size_t line_max_;
  std::string rest_;
};

struct WatchEvent {
  enum class Kind : uint8_t {
    kPut,       ///< ADDED or MODIFIED: the object as it is now. The same may come twice
    kGone,      ///< DELETED: as it was last
    kBookmark,  ///< nothing happened up to this version
    kExpired,   ///< 410: what happened since our version is forgotten; list again
    kError,     ///< the server gives up; `object` is its Status
  };
  Kind kind = Kind::kBookmark;
  proto::Value object;
  std::string version;  ///< to resume from; "" with an error
};

/// An error for a line that is no event: then the stream is worth nothing.
proto::Result<WatchEvent> event_from(std::string_view line);

}  // namespace flame::autoscaler::kubernetes

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Whose turn it is to be the broker. Every broker raises the number in flame:meta before it serves;
// messages and tickets carry the text.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace flame::proto {

struct Epoch {
  uint64_t number = 0;
  uint64_t random = 0;

  /// "number-random", the latter in hex.
  std::string text() const;
  static std::optional<Epoch> parse(std::string_view text);
  friend bool operator==(const Epoch&, const Epoch&) = default;
};

/// What a client or an executor remembers of the brokers that welcomed it. Within a lineage a
/// smaller number belongs to a broker that was replaced and does not know it yet: what it says is
/// old, and must not be taken for a loss.
class NewestEpoch {
 public:
  /// False: a replaced broker's; turn away. One that does not parse is taken: nothing follows from
  /// it.
  bool accept(const std::string& lineage, std::string_view epoch);

 private:
  std::string lineage_;
  uint64_t number_ = 0;
};

}  // namespace flame::proto

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What a client or an executor remembers of the brokers that welcomed it. Every broker raises the
// epoch, so within a lineage a smaller one belongs to a broker that was replaced and does not know
// it yet: what it says is old, and must not be taken for a loss.

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

namespace flame::proto {

class NewestEpoch {
 public:
  /// False: a replaced broker's; turn away. `epoch` is "number-random"; one without a number is
  /// taken, as nothing follows from it.
  bool accept(std::string_view lineage, std::string_view epoch) {
    uint64_t number = 0;
    std::from_chars(epoch.data(), epoch.data() + epoch.size(), number);
    if (lineage == lineage_ && number != 0 && number < number_) return false;
    if (lineage != lineage_ || number != 0) number_ = number;
    lineage_ = lineage;
    return true;
  }

 private:
  std::string lineage_;
  uint64_t number_ = 0;
};

}  // namespace flame::proto

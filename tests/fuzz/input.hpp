// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Takes a fuzzer's bytes apart. Never fails: what is not there reads as zero.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace flame::fuzz {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  bool empty() const { return rest_.empty(); }
  uint8_t byte() {
    if (rest_.empty()) return 0;
    auto value = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return value;
  }
  /// Little endian.
  uint16_t word() {
    uint16_t low = byte();
    return static_cast<uint16_t>(low | byte() << 8);
  }
  /// A copy, so that a sanitizer sees a read beyond its end.
  std::string take(size_t size) {
    std::string out(rest_.substr(0, size));
    rest_.remove_prefix(out.size());
    return out;
  }
  std::string rest() { return take(rest_.size()); }

 private:
  std::string_view rest_;
};

/// What a target promises; a broken promise is a finding.
inline void promise(bool holds, std::string_view what) {
  if (holds) return;
  std::fprintf(stderr, "finding: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

}  // namespace flame::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

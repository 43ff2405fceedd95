// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What the service of flmping does, whichever shim reaches it: it answers as the parameters in the
// common data say.
//
//   output-size=64    bytes of the output, which begins with "pong <task id>"
//   duration-ms=0     how long a task takes; if not 0 the output goes on with " took
//   <microseconds>"
//                     by this program's clock: a sleeper is woken late, never early
//   memory=0          bytes that a task touches
//   common-data=      the last: all behind it is what a person said with `flmping -c`, and ignored

#include <cstdint>
#include <string>
#include <string_view>

namespace flame::services {

class Pong {
 public:
  /// Throws std::invalid_argument if the common data is not as above.
  void enter(std::string_view common_data);
  std::string answer(std::string_view task) const;

 private:
  void set(std::string_view line);
  int64_t sleep_us() const;

  uint64_t output_size_ = 64, duration_ms_ = 0, memory_ = 0;
};

}  // namespace flame::services

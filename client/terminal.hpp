// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// How the tools look: tables without borders, one progress bar, numbers that a person reads. Pure,
// but for inspect_terminal().

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace flame::tools {

struct Terminal {
  bool is_terminal = false;
  bool colour = false;  ///< a terminal, TERM is not dumb, NO_COLOR is not set
  size_t width = 80;
};
Terminal inspect_terminal(int fd);

/// 1234567 -> 1,234,567
std::string with_thousands(uint64_t number);
/// Microseconds as `0.4 ms`, `23 ms`, `1,234 ms` or, from 10 s on, `12.3 s`.
std::string show_duration(int64_t us);
/// As show_duration, but whole milliseconds and at least 1: `1 ms`.
std::string show_whole_ms(int64_t us);
std::string show_decimals(double number, int decimals);

/// `[ 42%] ==================                             4200/10000`, at most `width` columns.
std::string progress_bar(uint64_t done, uint64_t total, size_t width = 72);

/// Columns as wide as their widest cell, three spaces between them, nothing at the end of a line.
/// With `width` > 0 they move together to fit, and what does not fit even so is cut.
std::string format_table(const std::vector<std::string>& header,
                         const std::vector<std::vector<std::string>>& rows, size_t width = 0);

}  // namespace flame::tools

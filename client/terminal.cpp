// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/terminal.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>

namespace flame::tools {

Terminal inspect_terminal(int fd) {
  Terminal terminal;
  terminal.is_terminal = isatty(fd) == 1;
  auto kind = std::getenv("TERM");
  auto no_colour = std::getenv("NO_COLOR");
  terminal.colour = terminal.is_terminal && (no_colour == nullptr || *no_colour == 0) &&
                    kind != nullptr && std::string_view(kind) != "dumb";
  winsize size{};
  if (terminal.is_terminal && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    terminal.width = size.ws_col;
  }
  return terminal;
}

std::string with_thousands(uint64_t number) {
  std::string text = std::to_string(number);
  for (size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
  return text;
}

std::string show_decimals(double number, int decimals) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, number);
  return text;
}

std::string show_duration(int64_t us) {
  us = std::max<int64_t>(0, us);
  if (us < 10'000) return show_decimals(static_cast<double>(us) / 1e3, us < 1'000 ? 2 : 1) + " ms";
  if (us < 10'000'000) return with_thousands(static_cast<uint64_t>(us + 500) / 1'000) + " ms";
  return show_decimals(static_cast<double>(us) / 1e6, 1) + " s";
}

std::string show_whole_ms(int64_t us) {
  if (us >= 10'000'000) return show_duration(us);
  return with_thousands(
             std::max<uint64_t>(1, static_cast<uint64_t>(std::max<int64_t>(0, us) + 500) / 1'000)) +
         " ms";
}

std::string progress_bar(uint64_t done, uint64_t total, size_t width) {
  done = std::min(done, total);
  uint64_t percent = total == 0 ? 100 : done * 100 / total;
  std::string number = std::to_string(percent);
  std::string left = "[" + std::string(3 - number.size(), ' ') + number + "%] ";
  std::string right = "   " + std::to_string(done) + "/" + std::to_string(total);
  size_t room = width > left.size() + right.size() + 5 ? width - left.size() - right.size() : 5;
  room = std::min<size_t>(room, 45);
  size_t filled = total == 0 ? room : static_cast<size_t>(done * room / total);
  return left + std::string(filled, '=') + std::string(room - filled, ' ') + right;
}

std::string format_table(const std::vector<std::string>& header,
                         const std::vector<std::vector<std::string>>& rows, size_t width) {
  std::vector<size_t> widths;
  for (const auto& cell : header) widths.push_back(cell.size());
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size() && i < widths.size(); i++) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  // Columns move together before the last ones are cut off.
  size_t cells_wide = std::accumulate(widths.begin(), widths.end(), size_t{0}), gap = 3;
  while (width > 0 && gap > 1 && cells_wide + gap * (widths.size() - 1) > width) gap--;
  std::string out;
  auto add = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (size_t i = 0; i < cells.size() && i < widths.size(); i++) {
      line += cells[i] + std::string(widths[i] - cells[i].size() + gap, ' ');
    }
    if (width > 0 && line.size() > width) line.resize(width);
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  add(header);
  for (const auto& row : rows) add(row);
  return out;
}

}  // namespace flame::tools

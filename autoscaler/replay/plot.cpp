// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/replay/plot.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace flame::autoscaler {

namespace {

struct Column {
  uint64_t executors = 0, serving = 0, waiting = 0;
};

int64_t end_of(const Outcome& outcome) {
  return outcome.timeline.empty() ? 1 : std::max<int64_t>(1, outcome.timeline.back().at_us);
}

// The most of each slice of time; where nothing changed, what there was before.
std::vector<Column> columns_of(const Outcome& outcome, size_t count, int64_t end_us) {
  std::vector<Column> columns(count), last(count);
  std::vector<bool> seen(count);
  for (const auto& point : outcome.timeline) {
    auto at = static_cast<size_t>(static_cast<double>(point.at_us) / static_cast<double>(end_us) *
                                  static_cast<double>(count));
    at = std::min(at, count - 1);
    auto& column = columns[at];
    column.executors = std::max(column.executors, point.executors);
    column.serving = std::max(column.serving, point.serving);
    column.waiting = std::max(column.waiting, point.waiting);
    last[at] = {point.executors, point.serving, point.waiting};
    seen[at] = true;
  }
  for (size_t i = 1; i < count; i++) {
    if (!seen[i]) columns[i] = last[i] = last[i - 1];
  }
  return columns;
}

std::string printed(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

}  // namespace

std::string time_text(int64_t us) {
  double seconds = static_cast<double>(us) / proto::kUsPerSecond;
  if (seconds < 120) return printed("%.3g s", seconds);
  if (seconds < 7200) return printed("%.3g min", seconds / 60);
  return printed("%.3g h", seconds / 3600);
}

std::string text_plot(const Outcome& outcome, size_t width, size_t height) {
  constexpr size_t kMargin = 7;
  int64_t end_us = end_of(outcome);
  auto columns = columns_of(outcome, width - kMargin, end_us);
  uint64_t top = 1;
  for (const auto& column : columns) top = std::max(top, column.executors);
  std::string text;
  for (size_t row = height; row > 0; row--) {
    // What reaches into the row is drawn in it: a single executor is seen.
    double floor =
        static_cast<double>(top) * static_cast<double>(row - 1) / static_cast<double>(height);
    std::string label = row == height ? std::to_string(top) : row == 1 ? "0" : "";
    std::string line = std::string(kMargin - 2 - std::min(label.size(), kMargin - 2), ' ') + label;
    line += " |";
    for (const auto& column : columns) {
      bool serves = static_cast<double>(column.serving) > floor;
      bool starts = static_cast<double>(column.executors) > floor;
      line += serves ? '#' : starts ? '.' : ' ';
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  std::string hours = time_text(end_us);
  size_t rest = width - kMargin - std::min(width - kMargin, hours.size() + 1);
  return text + std::string(kMargin - 1, ' ') + "+0" + std::string(rest, ' ') + hours + "\n";
}

std::string svg_plot(const std::vector<Outcome>& outcomes) {
  constexpr size_t kWidth = 880, kHeight = 300, kLeft = 50, kTop = 30;
  constexpr const char* kColours[] = {"#d1495b", "#2e86ab", "#8f9a3a", "#444444"};
  int64_t end_us = 1;
  for (const auto& outcome : outcomes) end_us = std::max(end_us, end_of(outcome));
  std::vector<std::vector<Column>> all;
  uint64_t top = 1;
  for (const auto& outcome : outcomes) {
    all.push_back(columns_of(outcome, kWidth, end_us));
    for (const auto& column : all.back()) top = std::max(top, column.executors);
  }
  auto height_of = [&](uint64_t value) {
    double share = static_cast<double>(value) / static_cast<double>(top);
    return printed("%.1f",
                   static_cast<double>(kTop + kHeight) - share * static_cast<double>(kHeight));
  };
  auto number = [](size_t value) { return std::to_string(value); };
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " +
                    number(kLeft + kWidth + 20) + " " + number(kTop + kHeight + 40) +
                    "\" font-family=\"sans-serif\" font-size=\"13\">\n"
                    "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
  svg += "<path d=\"M" + number(kLeft) + " " + number(kTop) + "V" + number(kTop + kHeight) + "H" +
         number(kLeft + kWidth) + "\" fill=\"none\" stroke=\"#999\"/>\n";
  svg += "<text x=\"8\" y=\"" + number(kTop + 5) + "\">" + std::to_string(top) + "</text>\n";
  svg += "<text x=\"" + number(kLeft + kWidth - 40) + "\" y=\"" + number(kTop + kHeight + 22) +
         "\">" + time_text(end_us) + "</text>\n";
  for (size_t i = 0; i < all.size(); i++) {
    const char* colour = kColours[i % std::size(kColours)];
    svg += "<path fill=\"none\" stroke=\"" + std::string(colour) + "\" d=\"M";
    for (size_t x = 0; x < all[i].size(); x++) {
      svg += (x == 0 ? "" : "L") + number(kLeft + x) + " " + height_of(all[i][x].executors);
    }
    svg += "\"/>\n<text x=\"" + number(kLeft + 10 + i * 160) + "\" y=\"18\" fill=\"" + colour +
           "\">" + outcomes[i].name + "</text>\n";
  }
  return svg + "</svg>\n";
}

}  // namespace flame::autoscaler

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/replay/trace.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>

#include "proto/text.hpp"
#include "proto/time.hpp"

namespace flame::autoscaler {

namespace {

constexpr double kUs = proto::kUsPerSecond;
/// More would take long and much memory, and no plot would show it.
constexpr uint64_t kTasksMax = 20'000'000;
constexpr double kSecondsMax = 400 * 86'400.0;

class Random {
 public:
  explicit Random(uint64_t seed) : random_(seed) {}
  /// Written out: the standard's distributions differ between libraries, and a seed must not.
  double uniform(double from, double to) {
    return from + (to - from) * static_cast<double>(random_() >> 11) / 9007199254740992.0;
  }
  double exponential(double mean) { return -mean * std::log(1 - uniform(0, 1)); }
  /// Every order of magnitude as often as every other.
  double wide(double from, double to) { return std::exp(uniform(std::log(from), std::log(to))); }
  uint64_t whole(double from, double to) { return static_cast<uint64_t>(wide(from, to)); }

 private:
  std::mt19937_64 random_;
};

Arrival arrival(double at_s, uint64_t tasks, double run_s) {
  return {static_cast<int64_t>(at_s * kUs), std::max<uint64_t>(1, tasks),
          std::max<int64_t>(1, static_cast<int64_t>(run_s * kUs))};
}

Trace bursty(Random& random, double length_s) {
  Trace trace;
  double at = random.exponential(300);
  while (at < length_s) {
    double run_s = random.wide(0.2, 20);
    trace.push_back(arrival(at, random.whole(20, 600), run_s));
    at += random.exponential(900);
  }
  return trace;
}

// Jobs of 10 to 60 tasks; at noon one in half a minute, at night one in ten.
Trace periodic(Random& random, double length_s) {
  Trace trace;
  for (double at = 0; at < length_s;) {
    double height = 0.5 - 0.5 * std::cos(at / 86'400 * 2 * M_PI);
    at += random.exponential(30 + 570 * (1 - height));
    trace.push_back(arrival(at, random.whole(10, 60), random.uniform(2, 8)));
  }
  return trace;
}

Trace long_tailed(Random& random, double length_s) {
  Trace trace;
  double at = random.exponential(600);
  while (at < length_s) {
    double run_s = random.wide(0.1, 600);
    auto tasks = random.whole(1, 3'000 / std::sqrt(run_s + 1));
    trace.push_back(arrival(at, tasks, run_s));
    at += random.exponential(1800);
  }
  return trace;
}

// A burst whenever the executors of the last one have just left, of the kind of work that the last
// one did not have.
Trace adversarial(Random& random, double length_s, double gap_s) {
  Trace trace;
  bool is_short = false;
  for (double at = 0; at < length_s; is_short = !is_short) {
    double run_s = is_short ? 0.05 : random.uniform(5, 60);
    auto tasks = random.whole(50, 200);
    trace.push_back(arrival(at, tasks, run_s));
    at += (is_short ? 5 : run_s) + gap_s * random.uniform(1, 1.3);
  }
  return trace;
}

Trace idle(Random& random, double length_s) {
  Trace trace;
  double at = random.exponential(3'600);
  while (at < length_s) {
    trace.push_back(arrival(at, 1, random.uniform(0.1, 5)));
    at += random.exponential(10'000);
  }
  return trace;
}

proto::Error wrong(size_t line, std::string_view text) {
  return {proto::Code::kBadRequest, "line " + std::to_string(line) +
                                        " of the trace is not `seconds, tasks, seconds a task`: " +
                                        proto::printable(text, 60)};
}

proto::Result<Arrival> read_line(std::string_view text, size_t line) {
  double numbers[3];
  std::string rest(text);
  const char* at = rest.c_str();
  for (double& number : numbers) {
    char* end = nullptr;
    number = std::strtod(at, &end);
    if (end == at || !std::isfinite(number) || number < 0) return wrong(line, text);
    while (*end == ' ' || *end == '\t' || *end == '\r') end++;
    bool last = &number == &numbers[2];
    if (*end != (last ? '\0' : ',')) return wrong(line, text);
    at = last ? end : end + 1;
  }
  if (numbers[0] > kSecondsMax || numbers[2] > kSecondsMax || numbers[1] > kTasksMax)
    return wrong(line, text);
  auto tasks = static_cast<uint64_t>(numbers[1]);
  if (tasks == 0) return wrong(line, text);
  return arrival(numbers[0], tasks, numbers[2]);
}

}  // namespace

proto::Result<Trace> read_trace(std::string_view text) {
  Trace trace;
  uint64_t tasks = 0;
  for (size_t line = 1; !text.empty(); line++) {
    auto end = std::min(text.find('\n'), text.size());
    auto row = text.substr(0, std::min(text.find('#'), end));
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!row.empty() && (row.back() == ' ' || row.back() == '\r')) row.remove_suffix(1);
    if (row.empty()) continue;
    auto read = read_line(row, line);
    if (!read) return read.error();
    tasks += read->tasks;
    if (tasks > kTasksMax) {
      return proto::Error{
          proto::Code::kBadRequest,
          "the trace has more than " + std::to_string(kTasksMax) + " tasks; take a part of it"};
    }
    trace.push_back(*read);
  }
  if (trace.empty()) return proto::Error{proto::Code::kBadRequest, "the trace has no line"};
  std::stable_sort(trace.begin(), trace.end(),
                   [](const Arrival& a, const Arrival& b) { return a.at_us < b.at_us; });
  return trace;
}

std::string_view name_of(Demands kind) {
  switch (kind) {
    case Demands::kBursty:
      return "bursty";
    case Demands::kPeriodic:
      return "periodic";
    case Demands::kLongTailed:
      return "long-tailed";
    case Demands::kAdversarial:
      return "adversarial";
    case Demands::kIdle:
      return "idle";
  }
  return "";
}

Trace make_trace(Demands kind, uint64_t seed, int64_t length_us, int64_t gap_us) {
  Random random(seed * 16 + static_cast<uint64_t>(kind));
  double length_s = static_cast<double>(length_us) / kUs;
  switch (kind) {
    case Demands::kBursty:
      return bursty(random, length_s);
    case Demands::kPeriodic:
      return periodic(random, length_s);
    case Demands::kLongTailed:
      return long_tailed(random, length_s);
    case Demands::kAdversarial:
      return adversarial(random, length_s, static_cast<double>(gap_us) / kUs);
    case Demands::kIdle:
      return idle(random, length_s);
  }
  return {};
}

}  // namespace flame::autoscaler

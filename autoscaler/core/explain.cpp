// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Decisions in words.

#include <array>

#include "autoscaler/core/policy.hpp"
#include "proto/text.hpp"

namespace flame::autoscaler {

namespace {

constexpr std::array<std::string_view, 12> kReasonNames = {
    "steady",  "grow",    "shrink",      "cordon",  "tolerated", "frozen",
    "failing", "limited", "stabilizing", "cooling", "all_busy",  "minimum"};

std::string count(uint64_t number, const std::string& thing) {
  return std::to_string(number) + " " + thing + (number == 1 ? "" : "s");
}

// 0.2 ms, 35 ms, 1.5 s, 12 s
std::string duration(int64_t us) {
  auto tenths = [](int64_t value, int64_t unit, const char* name) {
    std::string text = std::to_string(value / unit);
    int64_t tenth = value % unit * 10 / unit;
    if (value < 10 * unit && tenth != 0) text += "." + std::to_string(tenth);
    return text + " " + name;
  };
  if (us < proto::kUsPerMs) return std::to_string(us) + " us";
  if (us < proto::kUsPerSecond) return tenths(us, proto::kUsPerMs, "ms");
  return tenths(us, proto::kUsPerSecond, "s");
}

std::string work(const Decision& decision) {
  const Demand& demand = decision.demand;
  std::string text;
  if (demand.unfinished() == 0) {
    text = "no task waits or runs";
  } else {
    text = count(demand.pending, "task") + (demand.pending == 1 ? " waits and " : " wait and ") +
           std::to_string(demand.running) + (demand.running == 1 ? " runs" : " run") +
           ", taken for " + duration(decision.run_us) + " each" +
           (demand.run_us > 0 ? "" : " (not measured yet)");
  }
  if (demand.minimum > 0) text += ", sessions hold at least " + count(demand.minimum, "slot");
  text += ": " + count(decision.slots_wanted, "slot") + " wanted";
  if (demand.unfinished() > 0) text += " to be done in " + duration(decision.target_drain_us);
  text += ", " + count(decision.wanted, "executor") + " of " + count(decision.slots, "slot");
  if (demand.shared > 0) text += " beside " + count(demand.shared, "shared slot");
  if (decision.held > 0)
    text += ", " + std::to_string(decision.held) + " only for the cluster's minimum";
  return text;
}

std::string fleet(const Decision& decision) {
  std::string text = "there " + std::string(decision.registered == 1 ? "is " : "are ") +
                     std::to_string(decision.registered);
  if (decision.starting > 0) text += ", " + std::to_string(decision.starting) + " more start";
  if (decision.resting > 0) text += ", " + std::to_string(decision.resting) + " more rest";
  return text;
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  constexpr size_t kShown = 5;
  for (size_t i = 0; i < names.size() && i < kShown; i++) text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kShown) text += " and " + std::to_string(names.size() - kShown) + " more";
  return text;
}

std::string failing(const Decision& decision) {
  std::string next = decision.add > 0 ? "one more is tried"
                     : decision.wait_us == 0
                         ? "the one that was tried is waited for"
                         : "nothing is tried for another " + duration(decision.wait_us);
  return "executors do not start (" + decision.because + "), " + next;
}

std::string outcome(const Decision& decision) {
  std::string wait = " for another " + duration(decision.wait_us);
  std::string asked;
  if (decision.add > 0) {
    asked = std::to_string(decision.add) + (decision.add == 1 ? " more is" : " more are") +
            " asked for";
  }
  if (!decision.restore.empty()) {
    asked += (asked.empty() ? "" : ", ") + std::string("taken back from leaving: ") +
             listed(decision.restore);
  }
  switch (decision.reason) {
    case Reason::kSteady:
      return "nothing to do";
    case Reason::kGrow:
      return asked;
    case Reason::kShrink:
      return "let go as idle: " + listed(decision.retire);
    case Reason::kCordon:
      return "fewer would do and none becomes idle, so the least busy take nothing new: " +
             listed(decision.cordon);
    case Reason::kTolerated:
      return "close enough to leave it";
    case Reason::kFailing:
      return failing(decision);
    case Reason::kLimited:
      return "limits allow " + std::to_string(decision.limit) + " now" +
             (asked.empty() ? "" : ", " + asked);
    case Reason::kStabilizing:
      return "fewer would do, which has to last" + wait;
    case Reason::kCooling:
      return "fewer would do, the last were let go just now: no step down" + wait;
    case Reason::kAllBusy:
      return "fewer would do, but none has been idle for long enough";
    case Reason::kMinimum:
      return "so many are kept";
    case Reason::kFrozen:
      break;
  }
  return "";
}

}  // namespace

std::string_view name_of(Reason reason) { return kReasonNames[static_cast<size_t>(reason)]; }

std::string explain(const Decision& decision) {
  if (decision.reason == Reason::kFrozen)
    return "frozen, nothing is started or stopped: " + decision.because;
  std::string text = work(decision) + "; " + fleet(decision) + "; " + outcome(decision);
  if (!decision.failed.empty()) text += "; given up: " + listed(decision.failed);
  return text;
}

}  // namespace flame::autoscaler

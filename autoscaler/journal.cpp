// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/journal.hpp"

#include <tuple>

#include "proto/codec.hpp"
#include "proto/keys.hpp"
#include "proto/limits.hpp"

namespace flame::autoscaler {

namespace {

constexpr size_t kEntriesWaitingMost = 256;
/// Rows that did not change are written again, so that a reader sees that we live.
constexpr int64_t kRowsEveryUs = 5 * proto::kUsPerSecond;

// What a dry run decides is not done, so that it is decided again each time.
bool is_news(const Decision& decision, const Decision* last, bool dry_run) {
  if (last == nullptr || last->reason != decision.reason) return true;
  if (!dry_run) return decision.acts();
  auto steps = [](const Decision& of) {
    return std::tuple(of.add, of.cordon, of.retire, of.restore, of.failed);
  };
  return steps(decision) != steps(*last);
}

std::string text_of(const Decision& decision, bool dry_run) {
  return (dry_run ? "(dry run) " : "") + explain(decision);
}

std::vector<std::string> entry_of(const Decision& decision, bool dry_run, proto::Now now) {
  auto number = [](auto value) { return std::to_string(value); };
  return {"XADD",
          std::string(proto::kDecisionsKey),
          "MAXLEN",
          "~",
          number(proto::kDecisionsKept),
          "*",
          "at",
          number(now.wall_ms()),
          "application",
          decision.application,
          "reason",
          std::string(name_of(decision.reason)),
          "text",
          text_of(decision, dry_run),
          "wanted",
          number(decision.wanted),
          "held",
          number(decision.held),
          "registered",
          number(decision.registered),
          "asked",
          number(decision.starting),
          "add",
          number(decision.add),
          "cordon",
          number(decision.cordon.size()),
          "leave",
          number(decision.retire.size()),
          "failed",
          number(decision.failed.size()),
          "pending",
          number(decision.demand.pending),
          "running",
          number(decision.demand.running),
          "busy",
          number(decision.demand.busy),
          "run_us",
          number(decision.run_us),
          "cold_start_us",
          number(decision.cold_start_us)};
}

proto::Map row_of(const Decision& decision, bool dry_run) {
  return {{"application", decision.application},
          {"wanted", decision.wanted},
          {"asked", decision.starting + (dry_run ? 0 : decision.add)},
          {"registered", decision.registered},
          {"busy", decision.demand.busy},
          {"pending", decision.demand.pending},
          {"running", decision.demand.running},
          {"cold_start_us", decision.cold_start_us},
          {"reason", std::string(name_of(decision.reason))},
          {"text", text_of(decision, dry_run)},
          {"dry_run", dry_run}};
}

}  // namespace

std::vector<Decision> Journal::note(const std::vector<Decision>& decisions, proto::Now now) {
  std::vector<Decision> news;
  std::map<std::string, Decision> current;
  rows_.clear();
  for (const auto& decision : decisions) {
    auto known = last_.find(decision.application);
    rows_[decision.application] = row_of(decision, dry_run_);
    // Nothing was let go that could be waited for.
    if (dry_run_ && decision.reason == Reason::kCooling && known != last_.end()) {
      current.insert(*known);
      continue;
    }
    if (is_news(decision, known == last_.end() ? nullptr : &known->second, dry_run_)) {
      news.push_back(decision);
      entries_.push_back(entry_of(decision, dry_run_, now));
    }
    current[decision.application] = decision;
  }
  while (entries_.size() > kEntriesWaitingMost) entries_.pop_front();
  last_ = std::move(current);
  return news;
}

runtime::RedisRequest Journal::request(proto::Now now) {
  runtime::RedisRequest request;
  bool due = now.mono_us - written_us_ >= kRowsEveryUs;
  sent_ = entries_.size();
  if (entries_.empty() && rows_ == written_ && !due) return request;
  request.add({"MULTI"});
  for (const auto& entry : entries_) {
    request.add(std::vector<std::string_view>(entry.begin(), entry.end()));
  }
  // Whole: an application that was unregistered leaves nothing behind.
  request.add({"DEL", proto::kScaleKey});
  for (auto [name, row] : rows_) {
    row.emplace_back("updated", now.wall_ms());
    request.add({"HSET", proto::kScaleKey, name, proto::encode_value(row)});
  }
  request.add({"EXEC"});
  written_ = rows_;
  written_us_ = now.mono_us;
  return request;
}

void Journal::kept() {
  entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(sent_));
  sent_ = 0;
}

}  // namespace flame::autoscaler

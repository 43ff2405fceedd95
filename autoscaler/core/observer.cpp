// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/core/observer.hpp"

#include <algorithm>
#include <cmath>
#include <set>

namespace flame::autoscaler {

using proto::Value;

namespace {

/// Rows of an application with open sessions are written every second.
constexpr int64_t kFiguresAgeMostUs = 5 * proto::kUsPerSecond;

uint64_t number(const Value& row, const char* key) {
  return static_cast<uint64_t>(std::max<int64_t>(0, row.number_at(key)));
}

int64_t seconds_as_us(const Value& row, const char* key) {
  auto value = row.find(key);
  if (value == nullptr) return 0;
  // A whole number travels as an integer.
  auto seconds = std::get_if<double>(&value->data);
  return std::llround((seconds == nullptr ? static_cast<double>(value->number()) : *seconds) * 1e6);
}

Demand demand_of(const Value& row) {
  return {.pending = number(row, "pending"),
          .running = number(row, "running"),
          .busy = number(row, "busy"),
          .shared = number(row, "shared"),
          .minimum = number(row, "minimum"),
          .reserved = number(row, "reserved"),
          .usable = number(row, "usable"),
          .run_us = seconds_as_us(row, "run_seconds"),
          .stale = ""};
}

// What the manifest says; a provider that does not read manifests has none.
uint64_t slots_of(const Stored& stored, const std::string& application) {
  auto row = stored.applications.find(application);
  if (row == stored.applications.end()) return 0;
  const Value* own = row->second.find("kubernetes");
  return own == nullptr ? 0 : number(*own, "slots");
}

bool is_connected(const Value& row) { return row.text_at("state") == "Connected"; }

// On its way out, cordoned, or drained by an operator while it works: no capacity, and none of ours
// to let go. What the broker drained for us has nothing in hand.
bool takes_nothing(const Value& row) {
  std::string_view state = row.text_at("state"), hold = row.text_at("hold");
  bool drained = hold == "drained" && (state == "Left" || number(row, "tasks") > 0);
  return drained || state == "Draining" || hold == "cordoned";
}

}  // namespace

// How long the mark has been the same; 0 when it is new.
int64_t Observer::age_us(Marks& marks, const std::string& name, int64_t mark, proto::Now now) {
  auto [known, fresh] = marks.try_emplace(name, Mark{mark, now.mono_us});
  if (!fresh && known->second.mark != mark) known->second = {mark, now.mono_us};
  return now.mono_us - known->second.since_us;
}

Observation Observer::observe(const proto::Result<Stored>& stored,
                              const proto::Result<std::vector<Provided>>& provided,
                              proto::Now now) {
  last_.frozen.clear();
  if (!stored) {
    last_.frozen = stored.error().message;
  } else if (stored->owner_ttl_ms <= 0) {
    last_.frozen = "no broker keeps the figures up to date (flame:owner has expired)";
  } else if (!provided) {
    last_.frozen = provided.error().message;
  }
  // What is known of the demand is shown, also while nothing can be done about it.
  if (stored && stored->owner_ttl_ms > 0) take_demand(*stored, now);
  if (!last_.frozen.empty()) return last_;
  take_members(*stored, *provided, now);
  return last_;
}

void Observer::take_demand(const Stored& stored, proto::Now now) {
  last_.demand.clear();
  std::erase_if(updated_, [&](const auto& entry) { return !stored.demand.contains(entry.first); });
  for (const auto& [name, row] : stored.demand) {
    Demand demand = demand_of(row);
    demand.slots = slots_of(stored, name);
    int64_t age = age_us(updated_, name, static_cast<int64_t>(number(row, "updated")), now);
    if (number(row, "sessions") > 0 && age > kFiguresAgeMostUs) {
      demand.stale = "its figures are " + std::to_string(age / proto::kUsPerSecond) + " s old";
    }
    last_.demand[name] = std::move(demand);
  }
}

void Observer::take_members(const Stored& stored, const std::vector<Provided>& provided,
                            proto::Now now) {
  last_.members.clear();
  Marks idle, starting;
  std::set<std::string> owned;
  auto idle_us = [&](const std::string& id, const Value& row) {
    auto mark = static_cast<int64_t>(number(row, "idle"));
    if (mark == 0) return int64_t{0};
    if (auto known = idle_.find(id); known != idle_.end()) idle.insert(*known);
    // What it was before we first saw it may have been another machine's time.
    return std::max<int64_t>(1, age_us(idle, id, mark, now));
  };
  for (const auto& from : provided) {
    owned.insert(from.id);
    Member member{.id = from.id, .application = from.application, .trouble = from.trouble};
    auto row = stored.executors.find(from.id);
    bool registered = row != stored.executors.end() && is_connected(row->second);
    if (from.leaving || (row != stored.executors.end() && takes_nothing(row->second))) {
      member.state = MemberState::kLeaving;
    } else if (row != stored.executors.end() && row->second.text_at("hold") == "drained") {
      member.state = MemberState::kDrained;
    } else if (registered) {
      bool rests = row->second.text_at("hold") == "resting";
      member.state = rests ? MemberState::kResting : MemberState::kRegistered;
      member.slots = number(row->second, "slots");
      member.idle_us = idle_us(from.id, row->second);
      member.tasks = number(row->second, "tasks");
    } else {
      if (auto known = starting_.find(from.id); known != starting_.end()) starting.insert(*known);
      member.exits = from.exits;
      member.asked_us = now.mono_us - age_us(starting, from.id, 0, now);
    }
    last_.members.push_back(std::move(member));
  }
  for (const auto& [id, row] : stored.executors) {
    // Those that serve any application are in the demand already, as shared slots.
    std::string application{row.text_at("application")};
    if (owned.contains(id) || !is_connected(row) || application.empty()) continue;
    if (!row.text_at("hold").empty()) continue;
    last_.members.push_back({.id = id,
                             .application = application,
                             .slots = number(row, "slots"),
                             .state = MemberState::kRegistered,
                             .owned = false});
  }
  idle_ = std::move(idle);
  starting_ = std::move(starting);
}

}  // namespace flame::autoscaler

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/core/scaler.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "autoscaler/core/wants.hpp"

namespace flame::autoscaler {

namespace {
/// The broker calls one idle a second after its last task, and we look four times a second.
constexpr int64_t kNoticedLateUs = 2 * proto::kUsPerSecond;
}  // namespace

Scaler::Scaler(Policy policy, proto::Now now) : policy_(std::move(policy)), born_us_(now.mono_us) {}

void Scaler::recall(const std::map<std::string, int64_t>& cold_starts) {
  for (const auto& [name, us] : cold_starts)
    memories_.try_emplace(name, policy_).first->second.cold_start_us = us;
}

std::vector<Decision> Scaler::decide(const Observation& seen, proto::Now now) {
  auto cases = gather(seen);
  for (auto& subject : cases) {
    if (!subject.frozen) watch_starts(subject, now);
    wish(subject);
  }
  hold_minimum(cases);
  for (auto& subject : cases) remember_wish(subject, now);
  share_cluster(cases);
  for (auto& subject : cases) {
    if (!subject.frozen) grow(subject, now);
  }
  limit_growth(cases, now);
  bool reclaim = others_wait(cases);
  std::vector<Decision> decisions;
  for (auto& subject : cases) {
    if (!subject.frozen) shrink(subject, reclaim, now);
    decisions.push_back(std::move(subject.decision));
  }
  return decisions;
}

std::vector<Scaler::Case> Scaler::gather(const Observation& seen) {
  std::map<std::string, Case> cases;
  for (const auto& [name, demand] : seen.demand) cases[name].decision.demand = demand;
  for (const auto& member : seen.members) {
    if (!member.owned) {
      // Somebody else's, of this application alone: as good as shared ones.
      auto found = cases.find(member.application);
      bool serves = member.state == MemberState::kRegistered && found != cases.end();
      if (serves) found->second.decision.demand.shared += member.slots;
      continue;
    }
    Case& subject = cases[member.application];
    subject.members.push_back(&member);
    subject.present++;
    subject.decision.registered += member.state == MemberState::kRegistered;
    subject.decision.starting += member.state == MemberState::kStarting;
    subject.decision.resting += member.state == MemberState::kResting;
  }
  // What could not be read is not gone.
  if (seen.frozen.empty())
    std::erase_if(memories_, [&](const auto& entry) { return !cases.contains(entry.first); });
  std::vector<Case> ordered;
  for (auto& [name, subject] : cases) {
    Decision& decision = subject.decision;
    decision.application = name;
    decision.slots = decision.demand.slots > 0 ? decision.demand.slots : policy_.slots;
    decision.target_drain_us = policy_.target_drain_us;
    subject.bounds = policy_.bounds(name);
    subject.registered = seen.demand.contains(name);
    if (!subject.registered) subject.bounds.min = 0;
    subject.memory = &memories_.try_emplace(name, policy_).first->second;
    decision.cold_start_us = subject.memory->cold_start_us;
    decision.because = seen.frozen.empty() ? decision.demand.stale : seen.frozen;
    subject.frozen = !decision.because.empty();
    if (subject.frozen) decision.reason = Reason::kFrozen;
    ordered.push_back(std::move(subject));
  }
  return ordered;
}

// ---- starts
// ------------------------------------------------------------------------------------

void Scaler::fail_start(Case& subject, const Member& member, proto::Now now) {
  Memory& memory = *subject.memory;
  if (!memory.failed.insert(member.id).second) return;
  memory.trouble = member.trouble.empty()
                       ? member.id + " did not register within " +
                             std::to_string(policy_.start_deadline_us / proto::kUsPerSecond) + " s"
                       : member.id + " " + member.trouble;
  memory.failures++;
  // Those of one block fail together; it is the next try that doubles the wait.
  if (memory.failures < policy_.failures_max || now.mono_us < memory.blocked_until_us) return;
  memory.blocked_until_us = now.mono_us + memory.backoff.next_us();
}

// A start may be over before it was ever seen: then it began when it was asked for. After a restart
// of ours neither is known.
void Scaler::take_start(Memory& memory, const Member& member, proto::Now now) const {
  auto was = memory.starting.find(member.id);
  int64_t asked_us = was != memory.starting.end() ? was->second : memory.asked_us;
  int64_t took_us = std::max<int64_t>(1, now.mono_us - asked_us);
  if (asked_us == 0 || took_us > policy_.start_deadline_us) return;
  memory.cold_start_us =
      memory.cold_start_us == 0 ? took_us : (memory.cold_start_us * 3 + took_us) / 4;
  memory.failures = 0;
  memory.blocked_until_us = 0;
  memory.backoff.reset();
}

// Who registered shows how long a start takes and that starts work; who does not in time, or ended
// before, is no capacity and is removed.
void Scaler::watch_starts(Case& subject, proto::Now now) {
  Memory& memory = *subject.memory;
  std::map<std::string, int64_t> starting;
  std::set<std::string> failed, registered;
  for (const Member* member : subject.members) {
    if (member->state == MemberState::kDrained || member->state == MemberState::kResting)
      registered.insert(member->id);
    if (member->state == MemberState::kRegistered) {
      registered.insert(member->id);
      if (!memory.registered.contains(member->id)) take_start(memory, *member, now);
    }
    if (member->state != MemberState::kStarting) continue;
    bool late = now.mono_us - member->asked_us > policy_.start_deadline_us;
    if (late || member->exits > 0) {
      fail_start(subject, *member, now);
      failed.insert(member->id);
      subject.decision.failed.push_back(member->id);
      subject.decision.starting--;
    } else {
      starting[member->id] = member->asked_us;
    }
  }
  memory.starting = std::move(starting);
  memory.registered = std::move(registered);
  memory.failed = std::move(failed);  // an id that is gone may be used again
  subject.decision.cold_start_us = memory.cold_start_us;
}

// ---- wishes
// ------------------------------------------------------------------------------------

void Scaler::wish(Case& subject) const {
  Decision& decision = subject.decision;
  const Demand& demand = decision.demand;
  decision.run_us = demand.run_us > 0 ? demand.run_us : policy_.prior_run_us;
  uint64_t ready = demand.shared;
  for (const Member* member : subject.members) {
    if (member->state == MemberState::kRegistered) ready += member->slots;
  }
  auto executors = [&](int64_t target_us) {
    decision.slots_wanted =
        slots_for(demand, decision.run_us, target_us, ready, decision.cold_start_us);
    return std::max(subject.bounds.min,
                    executors_for(decision.slots_wanted, demand, decision.slots, policy_.spares));
  };
  auto stretched =
      static_cast<int64_t>(static_cast<double>(policy_.target_drain_us) * (1 + policy_.tolerance));
  uint64_t tolerated = executors(stretched);
  uint64_t have = decision.have();
  decision.wanted = executors(policy_.target_drain_us);
  subject.wish = std::min(decision.wanted, subject.bounds.max);
  if (subject.frozen) return;
  if (subject.wish > have && tolerated <= have && have > 0) {
    decision.reason = Reason::kTolerated;
    subject.wish = have;
  }
}

// What the wishes lack to the cluster's minimum. Who is not registered any more holds none of it,
// who does not start what nobody else may.
void Scaler::hold_minimum(std::vector<Case>& cases) const {
  std::vector<Floor> floors, willing;
  for (const auto& subject : cases) {
    Floor floor{subject.wish, subject.decision.have(), subject.bounds.max};
    if (subject.frozen) floor.wanted = subject.present;
    if (subject.frozen || !subject.registered) floor.max = 0;
    floors.push_back(floor);
    if (subject.memory->failures >= policy_.failures_max)
      floor.max = std::min(floor.max, floor.have);
    willing.push_back(floor);
  }
  auto shares = fill_up(willing, policy_.cluster_min);
  if (std::accumulate(shares.begin(), shares.end(), uint64_t{0}) < policy_.cluster_min)
    shares = fill_up(floors, policy_.cluster_min);
  for (size_t i = 0; i < cases.size(); i++) {
    Decision& decision = cases[i].decision;
    if (shares[i] == floors[i].wanted) continue;
    cases[i].wish = shares[i];
    if (shares[i] <= decision.wanted) continue;
    decision.held = shares[i] - decision.wanted;
    decision.wanted = shares[i];
    decision.reason = Reason::kMinimum;
  }
}

void Scaler::remember_wish(Case& subject, proto::Now now) const {
  if (subject.frozen) return;
  auto& wishes = subject.memory->wishes;
  while (!wishes.empty() && wishes.back().second <= subject.wish) wishes.pop_back();
  wishes.emplace_back(now.mono_us, subject.wish);
  while (wishes.size() > 1 && now.mono_us - wishes.front().first > policy_.stabilization_us)
    wishes.pop_front();
}

// A frozen application keeps what it has: nobody may count on it.
void Scaler::share_cluster(std::vector<Case>& cases) const {
  std::vector<Wish> wishes;
  uint64_t total = policy_.cluster_max;
  for (const auto& subject : cases) {
    if (subject.frozen) total -= std::min(total, subject.present);
    wishes.push_back(subject.frozen ? Wish{} : Wish{subject.bounds.min, subject.wish});
  }
  auto shares = water_fill(wishes, total);
  for (size_t i = 0; i < cases.size(); i++) {
    cases[i].share = cases[i].frozen ? cases[i].present : shares[i];
  }
}

// ---- up
// ----------------------------------------------------------------------------------------

void Scaler::grow(Case& subject, proto::Now now) const {
  Decision& decision = subject.decision;
  Memory& memory = *subject.memory;
  uint64_t have = decision.have();
  if (subject.share <= have) return;
  uint64_t missing = subject.share - have;
  // Those that are on their way out are there at once, and those that rest may be at work.
  for (auto state : {MemberState::kResting, MemberState::kDrained}) {
    for (const Member* member : subject.members) {
      if (member->state != state || decision.restore.size() == missing) continue;
      decision.restore.push_back(member->id);
    }
  }
  missing -= decision.restore.size();
  decision.add = std::min(missing, policy_.step_up_max);
  // Leaving ones are there still: with them there may never be more than max.
  uint64_t max = std::max(subject.bounds.max, subject.bounds.min);
  decision.add = std::min(decision.add, max - std::min(max, subject.present));
  if (memory.failures < policy_.failures_max) return;
  decision.reason = Reason::kFailing;
  decision.because = memory.trouble;
  decision.wait_us = std::max<int64_t>(0, memory.blocked_until_us - now.mono_us);
  // After the wait one shows whether it works again.
  bool tries = decision.wait_us == 0 && decision.starting == 0;
  decision.add = std::min<uint64_t>(decision.add, tries ? 1 : 0);
}

void Scaler::limit_growth(std::vector<Case>& cases, proto::Now now) const {
  uint64_t present = 0;
  std::vector<Wish> wishes;
  for (const auto& subject : cases) {
    present += subject.present;
    uint64_t have = subject.decision.have(), min = subject.bounds.min;
    wishes.push_back({min - std::min(min, have), subject.decision.add});
  }
  uint64_t room = policy_.cluster_max > present ? policy_.cluster_max - present : 0;
  auto adds = water_fill(wishes, room);
  for (size_t i = 0; i < cases.size(); i++) {
    Decision& decision = cases[i].decision;
    decision.add = adds[i];
    if (decision.add > 0) cases[i].memory->asked_us = now.mono_us;
    if (decision.reason == Reason::kFailing || cases[i].frozen) continue;
    uint64_t after = decision.have() + decision.add + decision.restore.size();
    if (after < decision.wanted && decision.reason != Reason::kTolerated) {
      decision.reason = Reason::kLimited;
      decision.limit = after;
    } else if (decision.add > 0 || !decision.restore.empty()) {
      decision.reason = Reason::kGrow;
    }
  }
}

// ---- down
// --------------------------------------------------------------------------------------

// Somebody deserves more of a full cluster than there is room for.
bool Scaler::others_wait(const std::vector<Case>& cases) const {
  uint64_t wanted = 0;
  for (const auto& subject : cases) {
    uint64_t wish = subject.frozen ? subject.present : subject.wish;
    wanted = wish > UINT64_MAX - wanted ? UINT64_MAX : wanted + wish;
  }
  return wanted > policy_.cluster_max &&
         std::any_of(cases.begin(), cases.end(), [&](const Case& subject) {
           const Decision& decision = subject.decision;
           uint64_t after = decision.have() + decision.add + decision.restore.size();
           return !subject.frozen && decision.reason != Reason::kFailing && subject.share > after &&
                  decision.add < policy_.step_up_max;
         });
}

bool Scaler::may_shrink(Case& subject, bool reclaim, uint64_t highest, proto::Now now) const {
  Decision& decision = subject.decision;
  const Memory& memory = *subject.memory;
  uint64_t have = decision.have();
  auto hold = [&](Reason reason, int64_t wait_us) {
    decision.reason = reason;
    decision.wait_us = wait_us;
    return false;
  };
  bool within_limits = have <= subject.bounds.max && subject.share == subject.wish;
  bool to_the_floor = subject.wish <= subject.bounds.min + decision.held;
  auto surplus = static_cast<double>(have - subject.share);
  if (within_limits && !to_the_floor && surplus <= policy_.tolerance * static_cast<double>(have))
    return hold(Reason::kTolerated, 0);
  int64_t grown_us = born_us_ + policy_.stabilization_us - now.mono_us;
  if (!reclaim && (grown_us > 0 || highest >= have)) {
    int64_t window_us = memory.wishes.front().first + policy_.stabilization_us - now.mono_us;
    return hold(Reason::kStabilizing, std::max<int64_t>(0, std::max(grown_us, window_us)));
  }
  int64_t cool_us = memory.last_down_us + policy_.down_cooldown_us - now.mono_us;
  return cool_us <= 0 || hold(Reason::kCooling, cool_us);
}

// What another application of a full cluster waits for goes without the waiting times: its demand
// is the change that they wait for. Busy ones stay in any case.
void Scaler::shrink(Case& subject, bool reclaim, proto::Now now) const {
  Decision& decision = subject.decision;
  Memory& memory = *subject.memory;
  const auto& restore = decision.restore;
  bool rests = false;
  for (const Member* member : subject.members) {
    if (std::find(restore.begin(), restore.end(), member->id) != restore.end()) continue;
    if (member->state == MemberState::kDrained) decision.finish.push_back(member->id);
    rests |= member->state == MemberState::kResting;
  }
  uint64_t have = decision.have();
  uint64_t highest = reclaim ? subject.share : memory.wishes.front().second;
  bool too_many = decision.add == 0 && have > subject.share;
  if (too_many && may_shrink(subject, reclaim, highest, now))
    return let_go(subject, reclaim, have - highest, now);
  if (decision.reason != Reason::kCooling) memory.all_busy_us = 0;
  if (too_many) return;
  // Those that rest were too many when they were told to; they are still, and it lasts.
  bool lasts = reclaim || (now.mono_us - born_us_ >= policy_.stabilization_us && highest <= have);
  bool cools = now.mono_us - memory.last_down_us < policy_.down_cooldown_us;
  if (rests && decision.add == 0 && restore.empty() && lasts && !cools)
    let_go(subject, reclaim, 0, now);
}

// Those that rest, and `surplus` others; longest idle first.
void Scaler::let_go(Case& subject, bool reclaim, uint64_t surplus, proto::Now now) const {
  Decision& decision = subject.decision;
  Memory& memory = *subject.memory;
  std::vector<const Member*> idle;
  for (auto state : {MemberState::kResting, MemberState::kRegistered}) {
    auto first = static_cast<std::ptrdiff_t>(idle.size());
    for (const Member* member : subject.members) {
      if (member->state != state || member->idle_us == 0) continue;
      if (reclaim || member->idle_us >= policy_.idle_after_us) idle.push_back(member);
    }
    std::stable_sort(idle.begin() + first, idle.end(),
                     [](auto* a, auto* b) { return a->idle_us > b->idle_us; });
    if (state == MemberState::kResting) surplus += idle.size();
  }
  size_t most = std::min<uint64_t>({idle.size(), surplus, policy_.step_down_max});
  if (most == 0) return cordon(subject, reclaim, surplus, now);
  for (size_t i = 0; i < most; i++) decision.retire.push_back(idle[i]->id);
  decision.reason = Reason::kShrink;
  memory.last_down_us = now.mono_us;
  memory.all_busy_us = 0;
}

// Sessions that always work keep the executors that they are on: without this they would never
// become idle. The least busy first; where nobody waits, only after one had time to become idle.
void Scaler::cordon(Case& subject, bool reclaim, uint64_t surplus, proto::Now now) const {
  Decision& decision = subject.decision;
  Memory& memory = *subject.memory;
  if (surplus == 0) return;
  decision.reason = Reason::kAllBusy;
  if (memory.all_busy_us == 0) memory.all_busy_us = now.mono_us;
  int64_t patience_us = policy_.idle_after_us + kNoticedLateUs;
  if (!reclaim && now.mono_us - memory.all_busy_us < patience_us) return;
  std::vector<const Member*> serving;
  for (const Member* member : subject.members) {
    if (member->state == MemberState::kRegistered) serving.push_back(member);
  }
  std::stable_sort(serving.begin(), serving.end(), [](auto* a, auto* b) {
    return std::pair(a->tasks, -a->idle_us) < std::pair(b->tasks, -b->idle_us);
  });
  size_t most = std::min<uint64_t>({serving.size(), surplus, policy_.step_down_max});
  if (most == 0) return;
  for (size_t i = 0; i < most; i++) decision.cordon.push_back(serving[i]->id);
  decision.reason = Reason::kCordon;
  memory.last_down_us = now.mono_us;
  memory.all_busy_us = 0;
}

}  // namespace flame::autoscaler

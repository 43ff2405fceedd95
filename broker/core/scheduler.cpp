// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/scheduler.hpp"

#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "proto/limits.hpp"

namespace flame::broker {

namespace {

constexpr size_t kNone = SIZE_MAX;

class Planner {
 public:
  Planner(const std::vector<PlanSession>& sessions, const std::vector<PlanSlot>& slots,
          int64_t now_us)
      : sessions_(sessions),
        slots_(slots),
        now_us_(now_us),
        deserved_(sessions.size()),
        kept_(sessions.size()),
        owner_(slots.size(), kNone) {
    for (size_t i = 0; i < sessions.size(); i++) by_uid_.emplace(sessions[i].uid, i);
  }

  Plan run() {
    share_slots();
    keep_slots();
    fill_slots();
    Plan plan;
    plan.look_again_us = look_again_us_;
    for (size_t i = 0; i < slots_.size(); i++) plan.wanted.push_back(after(i));
    return plan;
  }

 private:
  bool waits(size_t session) const { return sessions_[session].wanted > 0; }

  // Those whose turn it is first: a session inside its quantum, then the ones served least.
  std::vector<size_t> order() {
    std::vector<size_t> order;
    for (size_t i = 0; i < sessions_.size(); i++) {
      if (waits(i)) order.push_back(i);
    }
    bool scarce = order.size() > slots_.size();
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      bool keeps_a = scarce && in_quantum(a), keeps_b = scarce && in_quantum(b);
      if (keeps_a != keeps_b) return keeps_a;
      return sessions_[a].served_us < sessions_[b].served_us;
    });
    if (scarce) {
      for (size_t i : order) {
        if (in_quantum(i)) look_again_at(sessions_[i].bound_us + int64_t{proto::kQuantumUs});
      }
    }
    return order;
  }
  bool in_quantum(size_t session) const {
    int64_t since = sessions_[session].bound_us;
    return since != 0 && now_us_ < since + int64_t{proto::kQuantumUs};
  }

  // Minimums first, then one slot each in turn until the slots or the wishes are used up:
  // water-filling.
  void share_slots() {
    auto turn = order();
    uint64_t left = slots_.size();
    auto give = [&](size_t i) {
      uint64_t& of_application = given_[sessions_[i].application];
      if (left == 0 || deserved_[i] >= sessions_[i].wanted) return false;
      if (of_application >= sessions_[i].application_max) return false;
      of_application++;
      deserved_[i]++;
      left--;
      return true;
    };
    for (size_t i : turn) {
      while (deserved_[i] < sessions_[i].min && give(i)) {
      }
    }
    for (uint64_t level = 0; left > 0 && level < slots_.size(); level++) {
      for (size_t i : turn) {
        if (deserved_[i] <= level) give(i);
      }
    }
  }

  bool fits(size_t session, size_t slot) const {
    return slots_[slot].only_application.empty() ||
           slots_[slot].only_application == sessions_[session].application;
  }

  // A slot stays where it is while its session deserves it; busy ones are kept rather than idle
  // ones.
  void keep_slots() {
    for (bool busy : {true, false}) {
      for (size_t s = 0; s < slots_.size(); s++) {
        if (slots_[s].busy != busy || slots_[s].wanted == 0) continue;
        auto found = by_uid_.find(slots_[s].wanted);
        if (found == by_uid_.end() || !fits(found->second, s)) continue;
        if (kept_[found->second] < deserved_[found->second]) {
          owner_[s] = found->second;
          kept_[found->second]++;
        }
      }
    }
  }

  // What is still deserved goes to slots nobody keeps: idle before busy, same application (a warm
  // process) first.
  void fill_slots() {
    for (size_t i = 0; i < sessions_.size(); i++) {
      while (kept_[i] < deserved_[i]) {
        size_t best = kNone;
        int best_rank = 99;
        for (size_t s = 0; s < slots_.size(); s++) {
          if (owner_[s] != kNone || !fits(i, s)) continue;
          int rank = (slots_[s].busy ? 4 : 0) + (lingers(s) ? 2 : 0) +
                     (slots_[s].application == sessions_[i].application ? 0 : 1);
          if (rank < best_rank) best = s, best_rank = rank;
        }
        if (best == kNone) break;
        owner_[best] = i;
        kept_[i]++;
      }
    }
  }

  bool lingers(size_t slot) const {
    auto found = by_uid_.find(slots_[slot].wanted);
    return found != by_uid_.end() && sessions_[found->second].linger_until_us > now_us_;
  }

  proto::SessionUid after(size_t slot) {
    if (owner_[slot] != kNone) return sessions_[owner_[slot]].uid;
    auto found = by_uid_.find(slots_[slot].wanted);
    if (found == by_uid_.end()) return 0;
    const PlanSession& session = sessions_[found->second];
    // Nobody else needs it: an instance stays where its next task may come, a busy one finishes.
    if (session.linger_until_us > now_us_) {
      look_again_at(session.linger_until_us);
      return session.uid;
    }
    return 0;
  }
  void look_again_at(int64_t us) {
    if (look_again_us_ == 0 || us < look_again_us_) look_again_us_ = us;
  }

  const std::vector<PlanSession>& sessions_;
  const std::vector<PlanSlot>& slots_;
  int64_t now_us_;
  std::vector<uint64_t> deserved_, kept_;
  std::vector<size_t> owner_;
  std::unordered_map<std::string, uint64_t> given_;  // slots by application
  std::unordered_map<proto::SessionUid, size_t> by_uid_;
  int64_t look_again_us_ = 0;
};

}  // namespace

Plan plan_slots(const std::vector<PlanSession>& sessions, const std::vector<PlanSlot>& slots,
                int64_t now_us) {
  return Planner(sessions, slots, now_us).run();
}

}  // namespace flame::broker

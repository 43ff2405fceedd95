// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/scheduler.hpp"

#include <algorithm>
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
    for (size_t i = 0; i < sessions.size(); i++) {
      by_uid_.emplace(sessions[i].uid, i);
      auto [at, fresh] = applications_.try_emplace(sessions[i].application, room_.only.size());
      application_of_.push_back(at->second);
      if (fresh) room_.only.push_back(0), room_.of_application.push_back(0);
      // Sessions of one application are told the same limit.
      uint64_t& limit = room_.of_application[at->second];
      limit = std::max(limit, sessions[i].application_max);
    }
    for (const auto& slot : slots) {
      if (slot.executor >= used_.size()) used_.resize(slot.executor + 1);
      any_dedicated_ |= !slot.only_application.empty();
      auto only = applications_.find(slot.only_application);
      if (slot.only_application.empty()) {
        room_.any++;
      } else if (only != applications_.end()) {
        room_.only[only->second]++;
      }
    }
  }

  Plan run() {
    share_slots();
    keep_slots();
    fill_slots();
    Plan plan;
    for (size_t i = 0; i < slots_.size(); i++) {
      plan.wanted.push_back(after(i));
      plan.spare.push_back(owner_[i] == kNone);
    }
    plan.look_again_us = look_again_us_;
    return plan;
  }

 private:
  // What is still to give. A slot that serves one application only is given first: others cannot
  // use it. So a count that fits here has a placing.
  struct Room {
    uint64_t any = 0;
    std::vector<uint64_t> only;            // by application
    std::vector<uint64_t> of_application;  // until its max_instances
    bool take(size_t application) {
      if (of_application[application] == 0) return false;
      uint64_t& from = only[application] > 0 ? only[application] : any;
      if (from == 0) return false;
      from--;
      of_application[application]--;
      return true;
    }
  };

  // Those whose turn it is first: a session inside its quantum, then the ones served least.
  std::vector<size_t> order() {
    std::vector<size_t> order;
    Room room = room_;
    bool scarce = false;
    for (size_t i = 0; i < sessions_.size(); i++) {
      if (sessions_[i].wanted == 0) continue;
      order.push_back(i);
      if (!room.take(application_of_[i])) scarce = true;
    }
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
  // water-filling. Where the minimums do not fit, a session without tasks has the shorter one: it
  // never uses up its turn, and others would wait for as long as it is open.
  void share_slots() {
    auto turn = order();
    auto give = [&](size_t i) {
      if (deserved_[i] >= sessions_[i].wanted || !room_.take(application_of_[i])) return false;
      deserved_[i]++;
      return true;
    };
    for (bool idle : {false, true}) {
      for (size_t i : turn) {
        uint64_t most = idle ? sessions_[i].min : std::min(sessions_[i].min, sessions_[i].tasks);
        while (deserved_[i] < most && give(i)) {
        }
      }
    }
    // What they got, not what they ask for: nobody may ask for more rounds than there are slots.
    uint64_t highest = 0;
    for (size_t i : turn) highest = std::max(highest, deserved_[i]);
    bool given = true;
    for (uint64_t level = 0; given || level <= highest; level++) {
      given = false;
      for (size_t i : turn) {
        if (deserved_[i] <= level) given |= give(i);
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
      std::vector<size_t> bound;
      for (size_t s = 0; s < slots_.size(); s++) {
        if (slots_[s].busy == busy && slots_[s].wanted != 0) bound.push_back(s);
      }
      fullest_first(bound);
      for (size_t s : bound) {
        auto found = by_uid_.find(slots_[s].wanted);
        if (found == by_uid_.end() || !fits(found->second, s)) continue;
        if (kept_[found->second] < deserved_[found->second]) give_slot(found->second, s);
      }
    }
  }
  void give_slot(size_t session, size_t slot) {
    owner_[slot] = session;
    kept_[session]++;
    used_[slots_[slot].executor]++;
  }
  // Of executors that serve one application only, those with the most slots in use.
  void fullest_first(std::vector<size_t>& slots) {
    auto used = [&](size_t s) {
      return slots_[s].only_application.empty() ? 0 : used_[slots_[s].executor];
    };
    if (!any_dedicated_) return;
    std::stable_sort(slots.begin(), slots.end(),
                     [&](size_t a, size_t b) { return used(a) > used(b); });
  }

  // What is still deserved goes to slots nobody keeps: those of its application alone before all
  // others, idle before busy, a warm process of the application before none.
  void fill_slots() {
    std::vector<size_t> by_rank[16];
    for (size_t i = 0; i < sessions_.size(); i++) {
      if (kept_[i] >= deserved_[i]) continue;
      for (auto& slots : by_rank) slots.clear();
      for (size_t s = 0; s < slots_.size(); s++) {
        if (owner_[s] != kNone || !fits(i, s)) continue;
        size_t rank = (slots_[s].only_application.empty() ? 8 : 0) + (slots_[s].busy ? 4 : 0) +
                      (lingers(s) ? 2 : 0) +
                      (slots_[s].application == sessions_[i].application ? 0 : 1);
        by_rank[rank].push_back(s);
      }
      for (auto& slots : by_rank) {
        if (slots.size() > deserved_[i] - kept_[i]) fullest_first(slots);
        for (size_t s : slots) {
          if (kept_[i] == deserved_[i]) break;
          give_slot(i, s);
        }
      }
      while (kept_[i] < deserved_[i] && displace(i)) {
      }
    }
  }

  // Another session moves to a slot of its application alone and leaves its own to `session`.
  bool displace(size_t session) {
    std::vector<size_t> free(room_.only.size(), kNone);
    for (size_t s = 0; s < slots_.size(); s++) {
      auto only = applications_.find(slots_[s].only_application);
      bool is_free = owner_[s] == kNone && only != applications_.end();
      if (is_free && !slots_[s].only_application.empty()) free[only->second] = s;
    }
    for (size_t s = 0; s < slots_.size(); s++) {
      if (owner_[s] == kNone || owner_[s] == session || !fits(session, s)) continue;
      size_t to = free[application_of_[owner_[s]]];
      if (to == kNone) continue;
      owner_[to] = owner_[s];
      used_[slots_[to].executor]++;
      owner_[s] = session;
      kept_[session]++;
      return true;
    }
    return false;
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
    uint64_t& room = room_.of_application[application_of_[found->second]];
    if (session.linger_until_us > now_us_ && room > 0) {
      room--;
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
  std::vector<uint64_t> used_;  // slots in use, by executor
  bool any_dedicated_ = false;
  std::unordered_map<std::string, size_t> applications_;  // to its number
  std::vector<size_t> application_of_;                    // by session
  Room room_;
  std::unordered_map<proto::SessionUid, size_t> by_uid_;
  int64_t look_again_us_ = 0;
};

}  // namespace

Plan plan_slots(const std::vector<PlanSession>& sessions, const std::vector<PlanSlot>& slots,
                int64_t now_us) {
  return Planner(sessions, slots, now_us).run();
}

}  // namespace flame::broker

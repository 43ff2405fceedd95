// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Hours of random demand, slow and failing starts, old figures and lost answers in virtual time.
// After every step the invariants hold that users of other autoscalers miss: never above max, never
// below min, nothing done on old figures, no busy one chosen, what starts counted once, no step
// down that the stabilization window forbids. In the end all tasks are done and nothing is left.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>

#include "autoscaler/core/scaler.hpp"
#include "tests/unit/autoscaler/times.hpp"

namespace flame::autoscaler {
namespace {

constexpr int64_t kTick = 250 * kMs;

struct SimExecutor {
  Member member;
  int64_t registers_us = 0;  ///< INT64_MAX: hangs
  int64_t exits_us = INT64_MAX;
  std::vector<int64_t> slots;  ///< remaining work of each; 0: free
  int64_t idle_since_us = 0;

  bool is_busy() const {
    return std::any_of(slots.begin(), slots.end(), [](int64_t left) { return left > 0; });
  }
};

struct SimApplication {
  std::deque<int64_t> queue;                        ///< run times
  std::deque<int64_t> finished;                     ///< the last ones
  std::deque<std::pair<int64_t, uint64_t>> wanted;  ///< of the last window
  int64_t last_down_us = INT64_MIN / 2;
  int64_t run_us = kS;  ///< of the tasks that come
  uint64_t submitted = 0, done = 0;
  Demand seen;
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : random_(seed) {
    policy_.slots = 1 + random_() % 4;
    policy_.cluster_max = 10 + random_() % 40;
    policy_.cluster_min = random_() % 9;
    policy_.spares = random_() % 2;
    policy_.step_up_max = random_() % 3 == 0 ? 3 : UINT64_MAX;
    policy_.step_down_max = random_() % 3 == 0 ? 2 : UINT64_MAX;
    policy_.idle_after_us = between(1, 20) * kS;
    policy_.stabilization_us = between(1, 120) * kS;
    for (auto name : {"a", "b", "c"}) {
      applications_[name];
      Bounds bounds{random_() % 3, 5 + random_() % 30};
      policy_.of_application[name] = bounds;
    }
    scaler_.emplace(policy_, now_);
  }

  void run(int64_t for_us) {
    int64_t until = now_.mono_us + for_us;
    while (now_.mono_us < until && !::testing::Test::HasFatalFailure()) step();
  }
  /// No more tasks, nothing more goes wrong: what is queued is done, and some time passes.
  void calm_down() {
    calm_ = true;
    int64_t most = now_.mono_us + 100 * 3600 * kS;
    auto open = [](auto& entry) { return entry.second.done < entry.second.submitted; };
    while (std::any_of(applications_.begin(), applications_.end(), open) && now_.mono_us < most &&
           !::testing::Test::HasFatalFailure()) {
      run(kS);
    }
    run(policy_.backoff_most_us + 200 * kS);
  }
  uint64_t rested() const { return rested_; }
  void expect_all_done() {
    uint64_t least = 0;
    for (auto& [name, application] : applications_) {
      EXPECT_EQ(application.done, application.submitted) << name;
      EXPECT_GT(application.submitted, 0u) << name;
      EXPECT_GE(count(name), policy_.bounds(name).min) << name;
      least += policy_.bounds(name).min;
    }
    EXPECT_EQ(count(), std::max(least, policy_.cluster_min));
    EXPECT_GT(retired_, 10u);
    EXPECT_GT(frozen_steps_, 10u);
    EXPECT_GT(failed_, 0u);
  }

 private:
  bool chance(uint64_t one_in) { return random_() % one_in == 0; }
  int64_t between(int64_t from, int64_t to) {
    return from + static_cast<int64_t>(random_() % static_cast<uint64_t>(to - from));
  }
  uint64_t count(const std::string& application = "") const {
    return static_cast<uint64_t>(
        std::count_if(executors_.begin(), executors_.end(), [&](const auto& entry) {
          return application.empty() || entry.second.member.application == application;
        }));
  }

  void step() {
    now_.mono_us += kTick;
    submit();
    live();
    work();
    auto seen = observe();
    auto decisions = scaler_->decide(seen, now_);
    for (const auto& decision : decisions) check(decision, seen, decisions);
    for (const auto& decision : decisions) perform(decision);
  }

  // Bursts, a steady trickle, quiet minutes; the kind of work changes now and then.
  void submit() {
    if (calm_) return;
    for (auto& [name, application] : applications_) {
      if (chance(2000)) {
        const int64_t kinds[] = {kMs, 50 * kMs, kS, 8 * kS, 90 * kS};
        application.run_us = kinds[random_() % 5];
      }
      uint64_t tasks = chance(600) ? 1 + random_() % 200 : 0;
      if (now_.mono_us / (300 * kS) % 3 == 1 && chance(8)) tasks++;
      application.submitted += tasks;
      for (uint64_t i = 0; i < tasks; i++) {
        int64_t tail = chance(50) ? 5 : 1;
        application.queue.push_back(application.run_us * tail * between(50, 150) / 100 + 1);
      }
    }
  }

  // Starts end, some in failure; drained ones leave; now and then one is lost and comes back.
  void live() {
    for (auto at = executors_.begin(); at != executors_.end();) {
      SimExecutor& executor = at->second;
      Member& member = executor.member;
      if (member.state == MemberState::kLeaving && !executor.is_busy()) {
        at = executors_.erase(at);
        continue;
      }
      if (member.state == MemberState::kStarting && now_.mono_us >= executor.exits_us) {
        member.exits++;
        member.trouble = "exited with code 1";
        executor.exits_us = INT64_MAX;
      } else if (member.state == MemberState::kStarting && now_.mono_us >= executor.registers_us) {
        member.state = MemberState::kRegistered;
        executor.slots.assign(policy_.slots, 0);
        executor.idle_since_us = now_.mono_us;
      }
      ++at;
    }
  }

  void work() {
    for (auto& [id, executor] : executors_) {
      if (executor.member.state == MemberState::kStarting) continue;
      auto& application = applications_[executor.member.application];
      bool takes = executor.member.state == MemberState::kRegistered;
      for (auto& left : executor.slots) {
        int64_t budget = kTick;
        while (budget > 0) {
          if (left == 0 && (!takes || application.queue.empty())) break;
          if (left == 0) {
            left = application.queue.front();
            application.queue.pop_front();
            application.finished.push_back(left);
            if (application.finished.size() > 50) application.finished.pop_front();
          }
          int64_t done = std::min(left, budget);
          left -= done;
          budget -= done;
          if (left == 0) application.done++;
        }
        if (budget < kTick) executor.idle_since_us = now_.mono_us;
      }
    }
  }

  Demand demand_of(const std::string& name) {
    auto& application = applications_[name];
    Demand demand{.pending = application.queue.size()};
    for (auto& [id, executor] : executors_) {
      if (executor.member.application != name) continue;
      for (int64_t left : executor.slots) demand.running += left > 0;
    }
    demand.busy = demand.running;
    demand.usable = demand.unfinished();
    std::vector<int64_t> sorted(application.finished.begin(), application.finished.end());
    std::sort(sorted.begin(), sorted.end());
    if (!sorted.empty()) demand.run_us = sorted[sorted.size() * 3 / 4];
    return demand;
  }

  Observation observe() {
    Observation seen;
    if (!calm_ && chance(400)) trouble_until_us_ = now_.mono_us + between(0, 20 * kS);
    if (now_.mono_us < trouble_until_us_) seen.frozen = "Redis does not answer";
    for (auto& [name, application] : applications_) {
      if (!calm_ && chance(800)) stale_until_us_[name] = now_.mono_us + between(0, 20 * kS);
      bool stale = now_.mono_us < stale_until_us_[name];
      if (!stale) application.seen = demand_of(name);
      application.seen.stale = stale ? "not written for long" : "";
      seen.demand[name] = application.seen;
    }
    for (auto& [id, executor] : executors_) {
      Member member = executor.member;
      bool serves =
          member.state == MemberState::kRegistered || member.state == MemberState::kResting;
      bool idle = serves && !executor.is_busy();
      for (int64_t left : executor.slots) member.tasks += left > 0;
      member.idle_us = idle ? now_.mono_us - executor.idle_since_us : 0;
      seen.members.push_back(member);
    }
    return seen;
  }

  void perform(const Decision& decision) {
    for (const auto& id : decision.failed) {
      failed_++;
      executors_.erase(id);
    }
    for (const auto& id : decision.cordon) {
      executors_.at(id).member.state = MemberState::kResting;
      rested_++;
    }
    for (const auto& id : decision.restore)
      executors_.at(id).member.state = MemberState::kRegistered;
    for (const auto& id : decision.retire) {
      executors_.at(id).member.state = MemberState::kLeaving;
      retired_++;
    }
    for (uint64_t i = 0; i < decision.add; i++) {
      if (chance(20)) continue;  // the request was lost
      std::string id = decision.application + std::to_string(next_++);
      SimExecutor& executor = executors_[id];
      executor.member = {.id = id,
                         .application = decision.application,
                         .slots = policy_.slots,
                         .asked_us = now_.mono_us};
      executor.registers_us = now_.mono_us + between(100 * kMs, 8 * kS);
      if (calm_) continue;
      bool bad_time = now_.mono_us / (700 * kS) % 4 == 3;  // a broken image, say
      if (chance(bad_time ? 2 : 15)) executor.registers_us = INT64_MAX;
      if (executor.registers_us == INT64_MAX && chance(2))
        executor.exits_us = now_.mono_us + between(0, 3 * kS);
    }
  }

  void check(const Decision& decision, const Observation& seen, const std::vector<Decision>& all) {
    SCOPED_TRACE("at " + std::to_string(now_.mono_us / kMs) + " ms, " + decision.application +
                 ": " + std::string(name_of(decision.reason)) + ", " + explain(decision));
    auto& application = applications_[decision.application];
    Bounds bounds = policy_.bounds(decision.application);
    bool frozen = !seen.frozen.empty() || !application.seen.stale.empty();
    frozen_steps_ += frozen;
    ASSERT_EQ(frozen, decision.reason == Reason::kFrozen);
    if (frozen) {
      ASSERT_FALSE(decision.acts());
      return;
    }
    uint64_t adds = 0;
    bool others_wait = false;
    for (const auto& other : all) {
      adds += other.add;
      others_wait |= other.application != decision.application && other.have() < other.wanted;
    }
    ASSERT_LE(count() + adds, policy_.cluster_max);
    ASSERT_LE(count(decision.application) + decision.add, bounds.max);
    uint64_t good = left_of(decision) + decision.add + decision.restore.size();
    if (left_of(decision) < decision.have()) {
      ASSERT_GE(good, std::min(bounds.min, bounds.max));
    }
    if (decision.add > 0) {
      ASSERT_LE(good, decision.wanted) << "what starts is counted once";
      ASSERT_EQ(left_of(decision), decision.have());
      for (const auto& [id, executor] : executors_) {
        bool rests = executor.member.application == decision.application &&
                     executor.member.state == MemberState::kResting;
        const auto& restore = decision.restore;
        ASSERT_TRUE(!rests || std::find(restore.begin(), restore.end(), id) != restore.end());
      }
    }
    bool room = count() + adds < policy_.cluster_max && count(decision.application) < bounds.max &&
                decision.reason != Reason::kFailing && policy_.step_up_max == UINT64_MAX;
    if (room && decision.failed.empty()) {
      ASSERT_GE(good, bounds.min);
    }
    check_victims(decision, others_wait);
    application.wanted.emplace_back(now_.mono_us, std::min(decision.wanted, bounds.max));
    check_window(application, decision, others_wait);
  }

  // Of those that take tasks.
  uint64_t left_of(const Decision& decision) const {
    auto taken =
        std::count_if(decision.retire.begin(), decision.retire.end(), [&](const std::string& id) {
          return executors_.at(id).member.state == MemberState::kRegistered;
        });
    return decision.have() - static_cast<uint64_t>(taken) - decision.cordon.size();
  }

  void check_victims(const Decision& decision, bool others_wait) {
    for (const auto& id : decision.cordon)
      ASSERT_EQ(executors_.at(id).member.state, MemberState::kRegistered);
    for (const auto& id : decision.retire) {
      const SimExecutor& executor = executors_.at(id);
      ASSERT_FALSE(executor.is_busy()) << id;
      ASSERT_TRUE(executor.member.state == MemberState::kRegistered ||
                  executor.member.state == MemberState::kResting);
      if (!others_wait) {
        ASSERT_GE(now_.mono_us - executor.idle_since_us, policy_.idle_after_us) << id;
      }
    }
    for (const auto& id : decision.failed) {
      ASSERT_EQ(executors_.at(id).member.state, MemberState::kStarting);
    }
  }

  void check_window(SimApplication& application, const Decision& decision, bool others_wait) {
    while (now_.mono_us - application.wanted.front().first > policy_.stabilization_us)
      application.wanted.pop_front();
    if (decision.retire.empty() && decision.cordon.empty()) return;
    ASSERT_GE(now_.mono_us - application.last_down_us, policy_.down_cooldown_us);
    application.last_down_us = now_.mono_us;
    if (others_wait) return;
    for (auto [at, wanted] : application.wanted) {
      ASSERT_GE(left_of(decision), wanted)
          << "so many were wanted " << (now_.mono_us - at) / kMs << " ms ago";
    }
  }

  std::mt19937_64 random_;
  Policy policy_;
  proto::Now now_{1000 * kS, 0};
  std::optional<Scaler> scaler_;
  std::map<std::string, SimApplication> applications_;
  std::map<std::string, SimExecutor> executors_;
  std::map<std::string, int64_t> stale_until_us_;
  int64_t trouble_until_us_ = 0;
  uint64_t next_ = 1, retired_ = 0, rested_ = 0, failed_ = 0, frozen_steps_ = 0;
  bool calm_ = false;
};

class SimulationTest : public ::testing::TestWithParam<uint64_t> {};

TEST_P(SimulationTest, KeepsItsPromisesAndFinishesTheWork) {
  Simulation simulation(GetParam());
  simulation.run(3600 * kS);
  simulation.calm_down();
  if (!HasFatalFailure()) simulation.expect_all_done();
}

TEST(Simulation, LetsTheLeastBusyRest) {
  Simulation simulation(2);
  simulation.run(3600 * kS);
  EXPECT_GT(simulation.rested(), 0u) << "or the other seeds show nothing of it";
}

INSTANTIATE_TEST_SUITE_P(Seeds, SimulationTest, ::testing::Range<uint64_t>(1, 25));

}  // namespace
}  // namespace flame::autoscaler

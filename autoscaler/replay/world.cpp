// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/replay/world.hpp"

#include <algorithm>
#include <functional>
#include <utility>

namespace flame::autoscaler {

namespace {

constexpr int64_t kPointEveryUs = 60 * proto::kUsPerSecond;
/// What never goes to zero is paid for so long after the last task.
constexpr int64_t kAfterUs = 3600 * proto::kUsPerSecond;
constexpr size_t kRecentTasks = 64;

double seconds(int64_t us) { return static_cast<double>(us) / proto::kUsPerSecond; }

void take_waits(Outcome& outcome, std::vector<int64_t>& waits) {
  outcome.tasks = waits.size();
  if (waits.empty()) return;
  std::sort(waits.begin(), waits.end());
  double sum = 0;
  for (int64_t wait : waits) sum += seconds(wait);
  outcome.wait_mean_s = sum / static_cast<double>(waits.size());
  outcome.wait_p50_s = seconds(waits[waits.size() / 2]);
  outcome.wait_p99_s = seconds(waits[waits.size() * 99 / 100]);
  outcome.wait_max_s = seconds(waits.back());
}

class World {
 public:
  World(const Trace& trace, const Ground& ground, Chooser& chooser, int64_t stabilization_us)
      : trace_(trace),
        ground_(ground),
        chooser_(chooser),
        stabilization_us_(stabilization_us),
        point_every_us_(std::clamp(trace.back().at_us / 512, ground.round_us, kPointEveryUs)) {}

  Outcome run() {
    while (next_arrival_ < trace_.size() || !queue_.empty() || running_ > 0 ||
           !executors_.empty()) {
      // Nothing there and nothing to do: after the first, all rounds until the next task are alike.
      if (now_us_ > 0 && executors_.empty() && queue_.empty() && next_arrival_ < trace_.size())
        now_us_ =
            std::max(now_us_, trace_[next_arrival_].at_us / ground_.round_us * ground_.round_us);
      now_us_ += ground_.round_us;
      advance(now_us_);
      round();
      if (next_arrival_ < trace_.size() || !queue_.empty() || running_ > 0) done_us_ = now_us_;
      if (now_us_ - done_us_ > kAfterUs) break;
    }
    for (const auto& [id, executor] : executors_) pay(executor);
    take_waits(outcome_, waits_);
    return std::move(outcome_);
  }

 private:
  struct Task {
    int64_t arrived_us, run_us;
    int64_t began_us = -1;
  };
  struct Executor {
    int64_t asked_us = 0;
    bool serves = false, leaves = false, rests = false;
    std::map<uint64_t, Task> running;  ///< by number of the start
    int64_t idle_since_us = 0;
  };
  struct Event {
    int64_t at_us;
    uint64_t executor, start;  ///< start 0: it begins to serve
    bool operator>(const Event& other) const { return at_us > other.at_us; }
  };

  void advance(int64_t until_us) {
    for (;;) {
      int64_t arrival_us = next_arrival_ < trace_.size() ? trace_[next_arrival_].at_us : INT64_MAX;
      int64_t event_us = events_.empty() ? INT64_MAX : events_.top().at_us;
      if (std::min(arrival_us, event_us) > until_us) return;
      if (arrival_us <= event_us) {
        const auto& arrival = trace_[next_arrival_++];
        for (uint64_t i = 0; i < arrival.tasks; i++)
          queue_.push_back({arrival.at_us, arrival.run_us});
        came_us_ = arrival.at_us;
      } else {
        handle(events_.top());
        events_.pop();
      }
      dispatch(std::min(arrival_us, event_us));
    }
  }

  void handle(const Event& event) {
    auto found = executors_.find(event.executor);
    if (found == executors_.end()) return;  // killed
    Executor& executor = found->second;
    if (event.start == 0) {
      executor.serves = true;
      executor.idle_since_us = event.at_us;
      free_.insert(event.executor);
      return;
    }
    auto task = executor.running.find(event.start);
    if (task == executor.running.end()) return;
    recent_.push_back(task->second.run_us);
    if (recent_.size() > kRecentTasks) recent_.pop_front();
    executor.running.erase(task);
    running_--;
    if (executor.running.empty()) executor.idle_since_us = event.at_us;
    if (executor.leaves && executor.running.empty()) return remove(event.executor, event.at_us);
    if (!executor.leaves && !executor.rests) free_.insert(event.executor);
  }

  // The oldest first, so that the others become idle.
  void dispatch(int64_t at_us) {
    while (!queue_.empty() && !free_.empty()) {
      uint64_t id = *free_.begin();
      Executor& executor = executors_.at(id);
      Task task = queue_.front();
      queue_.pop_front();
      if (task.began_us < 0) waits_.push_back(at_us - task.arrived_us);
      task.began_us = at_us;
      uint64_t start = ++starts_;
      executor.running.emplace(start, task);
      running_++;
      events_.push({at_us + task.run_us, id, start});
      if (executor.running.size() >= ground_.slots) free_.erase(id);
    }
  }

  void round() {
    Scene scene = look();
    Step step = chooser_.choose(scene);
    uint64_t room = ground_.max - std::min<uint64_t>(ground_.max, executors_.size());
    step.add = std::min(step.add, room);
    if (step.add > 0 && now_us_ - shrunk_us_ <= stabilization_us_ && came_us_ < shrunk_us_)
      outcome_.flaps++;
    if (!step.retire.empty()) shrunk_us_ = now_us_;
    for (const auto& id : step.retire) retire(std::stoull(id));
    for (const auto& id : step.cordon) cordon(std::stoull(id));
    for (const auto& id : step.restore) restore(std::stoull(id));
    for (uint64_t i = 0; i < step.add; i++) {
      uint64_t id = ++last_id_;
      executors_[id].asked_us = now_us_;
      events_.push({now_us_ + ground_.cold_start_us, id, 0});
      outcome_.starts++;
    }
    bool acted = step.add > 0 || !step.retire.empty() || (executors_.empty() && shown_ > 0);
    if (acted || now_us_ - point_us_ >= point_every_us_) note(scene);
  }

  void note(const Scene& scene) {
    uint64_t serving = 0;
    for (const auto& [id, executor] : executors_) serving += executor.serves;
    outcome_.timeline.push_back({now_us_, executors_.size(), serving, scene.pending});
    point_us_ = now_us_;
    shown_ = executors_.size();
  }

  Scene look() {
    Scene scene{.now = {now_us_, now_us_}, .pending = queue_.size(), .running = running_};
    scene.run_us = run_time_us();
    for (const auto& [id, executor] : executors_) {
      auto state = executor.leaves   ? MemberState::kLeaving
                   : executor.rests  ? MemberState::kResting
                   : executor.serves ? MemberState::kRegistered
                                     : MemberState::kStarting;
      bool idle = executor.serves && executor.running.empty();
      scene.members.push_back({.id = std::to_string(id),
                               .slots = ground_.slots,
                               .state = state,
                               .asked_us = executor.asked_us,
                               .idle_us = idle ? now_us_ - executor.idle_since_us : 0,
                               .tasks = executor.running.size()});
    }
    return scene;
  }

  // As broker/core/demand.cpp: what ended lately, unless what runs takes longer already.
  int64_t run_time_us() const {
    std::vector<int64_t> ended(recent_.begin(), recent_.end()), ages;
    std::sort(ended.begin(), ended.end());
    int64_t ended_us = ended.empty() ? 0 : ended[ended.size() * 3 / 4];
    for (const auto& [id, executor] : executors_) {
      for (const auto& [start, task] : executor.running) ages.push_back(now_us_ - task.began_us);
    }
    if (ages.empty()) return ended_us;
    auto middle = ages.begin() + static_cast<std::ptrdiff_t>(ages.size() / 2);
    std::nth_element(ages.begin(), middle, ages.end());
    return *middle > std::max(2 * ended_us, proto::kUsPerSecond) ? *middle : ended_us;
  }

  void retire(uint64_t id) {
    auto found = executors_.find(id);
    if (found == executors_.end()) return;
    for (auto at = found->second.running.rbegin(); at != found->second.running.rend(); ++at) {
      queue_.push_front(at->second);
      outcome_.killed++;
      running_--;
    }
    remove(id, now_us_);
    dispatch(now_us_);
  }

  void cordon(uint64_t id) {
    auto found = executors_.find(id);
    if (found == executors_.end() || !found->second.serves) return;
    found->second.rests = true;
    free_.erase(id);
  }
  void restore(uint64_t id) {
    auto found = executors_.find(id);
    if (found == executors_.end() || !std::exchange(found->second.rests, false)) return;
    if (found->second.running.size() < ground_.slots) free_.insert(id);
    dispatch(now_us_);
  }

  void remove(uint64_t id, int64_t at_us) {
    auto found = executors_.find(id);
    outcome_.executor_seconds += seconds(at_us - found->second.asked_us);
    free_.erase(id);
    executors_.erase(found);
  }
  void pay(const Executor& executor) {
    outcome_.executor_seconds += seconds(now_us_ - executor.asked_us);
  }

  const Trace& trace_;
  Ground ground_;
  Chooser& chooser_;
  int64_t stabilization_us_;
  size_t next_arrival_ = 0;
  int64_t point_every_us_;
  int64_t now_us_ = 0, point_us_ = -kPointEveryUs, done_us_ = 0;
  int64_t came_us_ = 0, shrunk_us_ = INT64_MIN / 2;
  std::deque<Task> queue_;
  std::deque<int64_t> recent_;
  std::map<uint64_t, Executor> executors_;
  std::set<uint64_t> free_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  uint64_t shown_ = 0;  ///< executors in the last point
  uint64_t running_ = 0, last_id_ = 0, starts_ = 0;
  std::vector<int64_t> waits_;
  Outcome outcome_;
};

/// An executor as the oracle plans it: until when each slot has work.
struct Planned {
  int64_t asked_us = 0;
  std::vector<int64_t> until_us;
  int64_t end_us() const { return *std::max_element(until_us.begin(), until_us.end()); }
};

class Oracle {
 public:
  explicit Oracle(const Ground& ground) : ground_(ground) {}

  Outcome run(const Trace& trace) {
    for (const auto& arrival : trace) {
      let_go(arrival.at_us);
      for (uint64_t i = 0; i < arrival.tasks; i++) place(arrival);
      note(arrival.at_us, planned_.size());
    }
    let_go(INT64_MAX);
    take_waits(outcome_, waits_);
    return std::move(outcome_);
  }

 private:
  // All work on them is done before anything new came.
  void let_go(int64_t before_us) {
    std::vector<int64_t> ends_us;
    uint64_t left = planned_.size();
    std::erase_if(planned_, [&](const Planned& executor) {
      int64_t end_us = executor.end_us();
      if (end_us >= before_us) return false;
      outcome_.executor_seconds += seconds(end_us - executor.asked_us);
      ends_us.push_back(end_us);
      return true;
    });
    std::sort(ends_us.begin(), ends_us.end());
    for (int64_t end_us : ends_us) note(end_us, --left);
  }

  // One a minute is enough, and one where nobody is left.
  void note(int64_t at_us, uint64_t executors) {
    if (executors > 0 && at_us - point_us_ < kPointEveryUs) return;
    point_us_ = at_us;
    outcome_.timeline.push_back({at_us, executors, executors, 0});
  }

  void place(const Arrival& arrival) {
    Planned* best = nullptr;
    size_t best_slot = 0;
    int64_t begins_us = arrival.at_us + ground_.cold_start_us, ends_us = 0;
    if (planned_.size() >= ground_.max) begins_us = INT64_MAX;
    for (auto& executor : planned_) {
      for (size_t slot = 0; slot < executor.until_us.size(); slot++) {
        int64_t from_us = std::max(executor.until_us[slot], arrival.at_us);
        int64_t end_us = executor.end_us();
        if (from_us > begins_us || (from_us == begins_us && best && end_us <= ends_us)) continue;
        best = &executor, best_slot = slot, begins_us = from_us, ends_us = end_us;
      }
    }
    if (best == nullptr) {
      best = &planned_.emplace_back();
      best->asked_us = arrival.at_us;
      best->until_us.assign(ground_.slots, begins_us);
      best_slot = 0;
      outcome_.starts++;
    }
    best->until_us[best_slot] = begins_us + arrival.run_us;
    waits_.push_back(begins_us - arrival.at_us);
  }

  Ground ground_;
  std::vector<Planned> planned_;
  std::vector<int64_t> waits_;
  int64_t point_us_ = -kPointEveryUs;
  Outcome outcome_;
};

}  // namespace

Outcome play(const Trace& trace, const Ground& ground, Chooser& chooser, std::string name,
             int64_t stabilization_us) {
  auto outcome = World(trace, ground, chooser, stabilization_us).run();
  outcome.name = std::move(name);
  return outcome;
}

Outcome play_oracle(const Trace& trace, const Ground& ground) {
  auto outcome = Oracle(ground).run(trace);
  outcome.name = "oracle";
  return outcome;
}

}  // namespace flame::autoscaler

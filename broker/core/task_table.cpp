// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/task_table.hpp"

#include <algorithm>

#include "proto/elements.hpp"
#include "proto/run_list.hpp"
#include "runtime/assert.hpp"

namespace flame::broker {

using proto::Run;
using proto::TaskId;

InputRun& TaskTable::add_input(InputRun input) {
  FLAME_ASSERT(inputs_.empty() || inputs_.back().run().end() <= input.first);
  if (input.in_memory) memory_bytes_ += input.body.size();
  return inputs_.emplace_back(std::move(input));
}

InputRun* TaskTable::input_of(TaskId id) {
  auto after = std::upper_bound(inputs_.begin(), inputs_.end(), id,
                                [](TaskId i, const InputRun& input) { return i < input.first; });
  if (after == inputs_.begin()) return nullptr;
  InputRun& input = *std::prev(after);
  return input.run().contains(id) ? &input : nullptr;
}

std::optional<Run> TaskTable::kept_input_of(TaskId id) const {
  auto run = std::partition_point(kept_.begin(), kept_.end(),
                                  [id](const Run& each) { return each.end() <= id; });
  if (run == kept_.end() || !run->contains(id)) return std::nullopt;
  return *run;
}

void TaskTable::forget_kept_inputs(TaskId end) {
  auto from = std::partition_point(kept_.begin(), kept_.end(),
                                   [end](const Run& each) { return each.first < end; });
  kept_.erase(kept_.begin(), from);
}

void TaskTable::wait_back(const WaitingRun& waiting) {
  waiting_count_ += waiting.run.count;
  if (!waiting_.empty()) {
    WaitingRun& last = waiting_.back();
    if (last.run.end() == waiting.run.first && last.charged == waiting.charged) {
      last.run.count += waiting.run.count;
      return;
    }
  }
  waiting_.push_back(waiting);
}

void TaskTable::wait_front(const WaitingRun& waiting) {
  waiting_count_ += waiting.run.count;
  auto at = waiting_.begin();
  while (at != waiting_.end() && at->run.first < waiting.run.first) ++at;
  if (at != waiting_.end() && waiting.run.end() == at->run.first &&
      waiting.charged == at->charged) {
    at->run.first = waiting.run.first;
    at->run.count += waiting.run.count;
    return;
  }
  waiting_.insert(at, waiting);
}

void TaskTable::take_front(uint64_t count) {
  WaitingRun& front = waiting_.front();
  FLAME_ASSERT(count <= front.run.count);
  waiting_count_ -= count;
  front.run.first += count;
  front.run.count -= count;
  if (front.run.empty()) waiting_.pop_front();
}

std::vector<WaitingRun> TaskTable::take(const std::vector<Run>& runs) {
  std::vector<WaitingRun> taken;
  std::deque<WaitingRun> kept;
  for (const auto& waiting : waiting_) {
    TaskId at = waiting.run.first;  // all before it is taken or kept
    auto run = std::partition_point(runs.begin(), runs.end(),
                                    [at](const Run& r) { return r.end() <= at; });
    for (; run != runs.end() && run->first < waiting.run.end(); ++run) {
      Run common = waiting.run.intersect(*run);
      if (at < common.first) kept.push_back({{at, common.first - at}, waiting.charged});
      taken.push_back({common, waiting.charged});
      waiting_count_ -= common.count;
      at = common.end();
    }
    if (at < waiting.run.end()) {
      kept.push_back({{at, waiting.run.end() - at}, waiting.charged});
    }
  }
  waiting_.swap(kept);
  return taken;
}

std::vector<WaitingRun> TaskTable::take_all() {
  std::vector<WaitingRun> all(waiting_.begin(), waiting_.end());
  waiting_.clear();
  waiting_count_ = 0;
  return all;
}

std::vector<Run> TaskTable::claim_orphans(const Run& run) { return proto::take_out(orphans_, run); }

proto::Bytes TaskTable::elements_of(InputRun& input, const Run& slice) {
  FLAME_ASSERT(input.in_memory && input.run().contains(slice));
  auto from_task = static_cast<uint32_t>(slice.first - input.first);
  size_t from = input.cut_bytes;
  if (from_task != input.cut_tasks) from = *proto::skip_elements(input.body.view(), from_task);
  auto size = proto::skip_elements(input.body.view().substr(from), slice.count);
  FLAME_ASSERT(size.has_value());
  input.cut_tasks = static_cast<uint32_t>(from_task + slice.count);
  input.cut_bytes = static_cast<uint32_t>(from + *size);
  return input.body.slice(from, *size);
}

void TaskTable::finish(const Run& run, bool failed, std::vector<Run>& done) {
  for (TaskId id = run.first; id < run.end();) {
    InputRun* input = input_of(id);
    if (input == nullptr) {
      id++;
      continue;
    }
    Run common = input->run().intersect(run);
    FLAME_ASSERT(input->unfinished >= common.count);
    input->unfinished -= static_cast<uint32_t>(common.count);
    input->keep |= failed;
    if (input->unfinished == 0) {
      if (!input->keep) done.push_back(input->run());
      forget_body(*input);
    }
    id = common.end();
  }
  for (; !inputs_.empty() && inputs_.front().unfinished == 0; inputs_.pop_front()) {
    if (inputs_.front().keep) kept_.push_back(inputs_.front().run());
  }
}

void TaskTable::forget_body(InputRun& input) {
  if (!input.in_memory) return;
  memory_bytes_ -= input.body.size();
  input.body = {};
  input.in_memory = false;
}

void TaskTable::shrink_memory(uint64_t bytes) {
  for (auto input = inputs_.rbegin(); input != inputs_.rend() && memory_bytes_ > bytes; ++input) {
    forget_body(*input);
  }
}

void TaskTable::load(InputRun& input, proto::Bytes body) {
  input.reading = false;
  if (input.in_memory || input.unfinished == 0) return;
  memory_bytes_ += body.size();
  input.body = std::move(body);
  input.in_memory = true;
  input.cut_tasks = input.cut_bytes = 0;
}

}  // namespace flame::broker

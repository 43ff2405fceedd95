// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "executor/core/session.hpp"

#include <algorithm>

#include "proto/elements.hpp"
#include "proto/limits.hpp"
#include "runtime/assert.hpp"

namespace flame::executor {

QueuedRun part_of(const QueuedRun& run, const proto::Run& part) {
  if (part == run.run) return run;
  auto view = run.payload.view();
  // The payload was checked on receipt, so the elements are there.
  size_t begin = proto::skip_elements(view, part.first - run.run.first).value_or(view.size());
  size_t size = part.end() == run.run.end()
                    ? view.size() - begin
                    : proto::skip_elements(view.substr(begin), part.count).value_or(0);
  return {part, run.ticket, run.payload.slice(begin, size)};
}

void TaskQueue::add(QueuedRun run) {
  tasks_ += run.run.count;
  runs_.push_back(std::move(run));
}

QueuedRun TaskQueue::take(uint64_t tasks) {
  FLAME_ASSERT(!runs_.empty() && tasks > 0);
  auto& front = runs_.front();
  uint64_t count = std::min(tasks, front.run.count);
  tasks_ -= count;
  if (count == front.run.count) {
    QueuedRun whole = std::move(front);
    runs_.pop_front();
    return whole;
  }
  QueuedRun taken = part_of(front, {front.run.first, count});
  size_t used = taken.payload.size();
  front.payload = front.payload.slice(used, front.payload.size() - used);
  front.run = {front.run.first + count, front.run.count - count};
  return taken;
}

uint64_t TaskQueue::drop(const proto::Run& run) {
  uint64_t before = tasks_;
  std::deque<QueuedRun> kept;
  tasks_ = 0;
  for (auto& queued : runs_) {
    auto common = queued.run.intersect(run);
    if (common.empty()) {
      tasks_ += queued.run.count;
      kept.push_back(std::move(queued));
      continue;
    }
    for (proto::Run part : {proto::Run{queued.run.first, common.first - queued.run.first},
                            proto::Run{common.end(), queued.run.end() - common.end()}}) {
      if (part.empty()) continue;
      tasks_ += part.count;
      kept.push_back(part_of(queued, part));
    }
  }
  runs_ = std::move(kept);
  return before - tasks_;
}

void TaskQueue::drop_last() {
  tasks_ -= runs_.back().run.count;
  runs_.pop_back();
}

std::vector<QueuedRun> TaskQueue::take_all() {
  std::vector<QueuedRun> all(std::make_move_iterator(runs_.begin()),
                             std::make_move_iterator(runs_.end()));
  runs_.clear();
  tasks_ = 0;
  return all;
}

uint64_t Session::frame_tasks() const {
  // A process per task gains nothing from a frame, and its tasks could not be taken back; a service
  // that has several at a time gets the next as soon as one is done.
  bool alone = application.shim == "shell" || application.concurrency > 1;
  return alone ? 1 : run_time.frame_tasks();
}

bool Session::may_queue_in_service() const {
  return run_time.measured() && run_time.p99_us() <= static_cast<double>(proto::kNextTaskUs);
}

proto::SessionWindow Session::window(bool draining) const {
  if (draining || serving == 0) return {uid, 0, 0};
  uint64_t each = tasks_in_hand() + run_time.ahead_tasks();
  return {uid, std::min(serving * each, proto::kWindowTasksMax), proto::kWindowBytesMax};
}

bool Session::window_changed(const proto::SessionWindow& now) const {
  if (now.tasks == told.tasks) return false;
  if (now.tasks == 0 || told.tasks == 0) return true;
  uint64_t difference = now.tasks > told.tasks ? now.tasks - told.tasks : told.tasks - now.tasks;
  return difference * 4 > told.tasks;
}

void Session::measure(uint64_t tasks, int64_t us, uint64_t output_bytes) {
  run_time.add(tasks, us, output_bytes);
  if (prior != nullptr) prior->add(tasks, us, output_bytes);
}

}  // namespace flame::executor

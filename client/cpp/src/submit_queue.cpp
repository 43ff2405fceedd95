// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/cpp/src/submit_queue.hpp"

#include "client/cpp/src/errors.hpp"
#include "proto/elements.hpp"
#include "proto/limits.hpp"

namespace flame::detail {

namespace {
constexpr size_t kRunsMax = 64;
constexpr uint64_t kBytesMax = 64 * proto::MiB;
}  // namespace

bool SubmitQueue::wait_for_room(Lock& lock, bool block) {
  auto room = [this] { return closed_ || (runs_.size() < kRunsMax && bytes_ < kBytesMax); };
  if (block) room_.wait(lock, room);
  if (closed_) raise(*closed_);
  return room();
}

bool SubmitQueue::must_wake() {
  bool wake = taker_sleeps_;
  taker_sleeps_ = false;
  return wake;
}

std::optional<SubmitQueue::Place> SubmitQueue::add(std::string_view input, bool block, bool& wake) {
  Lock lock(mutex_);
  size_t size = proto::element_size(input.size());
  bool joins = !closed_ && !runs_.empty() && runs_.back().open &&
               runs_.back().count < proto::kRunTasksMax &&
               runs_.back().payload.size() + size <= proto::kRunBytesMax;
  if (!joins) {
    if (!wait_for_room(lock, block)) return std::nullopt;
    runs_.push_back({"", 0, std::make_shared<RunState>(), true});
    added_++;
  }
  WaitingRun& run = runs_.back();
  proto::append_element(run.payload, input);
  run.count++;
  bytes_ += size;
  size_t index = run.state->add_task();
  wake = must_wake();
  return Place{run.state, index};
}

void SubmitQueue::add_run(WaitingRun run, bool& wake) {
  Lock lock(mutex_);
  wait_for_room(lock, true);
  bytes_ += run.payload.size();
  runs_.push_back(std::move(run));
  added_++;
  wake = must_wake();
}

std::optional<WaitingRun> SubmitQueue::take() {
  std::lock_guard lock(mutex_);
  if (runs_.empty()) {
    taker_sleeps_ = true;
    return std::nullopt;
  }
  WaitingRun run = std::move(runs_.front());
  runs_.pop_front();
  bytes_ -= run.payload.size();
  room_.notify_all();
  return run;
}

uint64_t SubmitQueue::added() {
  std::lock_guard lock(mutex_);
  return added_;
}

SubmitQueue::Dropped SubmitQueue::close(const proto::Error& error) {
  std::lock_guard lock(mutex_);
  closed_ = error;
  Dropped dropped{runs_.size(), false};
  for (auto& run : runs_) {
    if (run.state != nullptr) {
      run.state->fail(error, true);
    } else {
      dropped.untold = true;
    }
  }
  runs_.clear();
  bytes_ = 0;
  room_.notify_all();
  return dropped;
}

}  // namespace flame::detail

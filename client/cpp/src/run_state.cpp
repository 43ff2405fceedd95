// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/cpp/src/run_state.hpp"

#include <algorithm>

#include "client/cpp/src/core/result_failures.hpp"

namespace flame::detail {

size_t RunState::add_task() {
  std::lock_guard lock(mutex_);
  slots_.emplace_back();
  return slots_.size() - 1;
}

void RunState::acknowledge(proto::TaskId first) {
  std::lock_guard lock(mutex_);
  first_ = first;
  changed_.notify_all();
}

proto::Run RunState::run() const {
  std::lock_guard lock(mutex_);
  return {first_, slots_.size()};
}

uint32_t RunState::origin_of(const proto::Results& results) {
  for (size_t i = 0; i < origins_.size(); i++) {
    if (origins_[i].executor == results.executor && origins_[i].attempt == results.attempt) {
      return static_cast<uint32_t>(i);
    }
  }
  origins_.push_back({results.executor, results.attempt});
  return static_cast<uint32_t>(origins_.size() - 1);
}

uint64_t RunState::take(const proto::Results& results, const std::vector<proto::Bytes>& outputs) {
  Lock lock(mutex_);
  auto common = results.run.intersect({first_, slots_.size()});
  uint32_t origin = origin_of(results);
  uint64_t fresh = 0;
  for (auto id = common.first; id < common.end(); id++) {
    Slot& slot = slots_[id - first_];
    if (slot.done) continue;  // the first result wins
    slot = {true, origin, outputs[id - results.run.first]};
    fresh++;
    if (auto failure = client::failure_of(results, id); failure != nullptr)
      failures_.emplace(id - first_, proto::Error{failure->code, failure->reason});
  }
  announce(std::move(lock));
  return fresh;
}

void RunState::fail(const proto::Error& error, bool refused) {
  Lock lock(mutex_);
  if (refused) refusal_ = error;
  for (size_t i = 0; i < slots_.size(); i++) {
    if (slots_[i].done) continue;
    slots_[i].done = true;
    failures_.emplace(i, error);
  }
  announce(std::move(lock));
}

void RunState::lose(const proto::Run& run) {
  Lock lock(mutex_);
  auto common = run.intersect({first_, slots_.size()});
  for (auto id = common.first; id < common.end(); id++) {
    if (slots_[id - first_].done) continue;
    slots_[id - first_].done = true;
    failures_.emplace(id - first_, proto::Error{proto::Code::kLostByStore,
                                                "Redis lost the task after it was acknowledged"});
  }
  announce(std::move(lock));
}

void RunState::announce(Lock lock) {
  std::vector<std::pair<Callback, TaskResult>> calls;
  for (auto it = callbacks_.begin(); it != callbacks_.end();) {
    if (!slots_[it->first].done) {
      ++it;
      continue;
    }
    calls.emplace_back(std::move(it->second), result_locked(it->first));
    it = callbacks_.erase(it);
  }
  changed_.notify_all();
  lock.unlock();
  for (auto& [callback, result] : calls) callback(result);
}

namespace {
template <class Ready>
bool wait_until(std::condition_variable& changed, std::unique_lock<std::mutex>& lock,
                const RunState::Deadline& deadline, Ready ready) {
  if (deadline) return changed.wait_until(lock, *deadline, ready);
  changed.wait(lock, ready);
  return true;
}
}  // namespace

bool RunState::wait_for_id(const Deadline& deadline) const {
  Lock lock(mutex_);
  return wait_until(changed_, lock, deadline, [this] { return first_ != 0 || refusal_; });
}

bool RunState::wait(size_t index, const Deadline& deadline) const {
  Lock lock(mutex_);
  return wait_until(changed_, lock, deadline, [&] { return slots_[index].done; });
}

proto::Result<proto::TaskId> RunState::first() const {
  std::lock_guard lock(mutex_);
  if (refusal_) return *refusal_;
  return first_;
}

std::optional<proto::Error> RunState::refusal() const {
  std::lock_guard lock(mutex_);
  return refusal_;
}

TaskResult RunState::result(size_t index) const {
  std::lock_guard lock(mutex_);
  return result_locked(index);
}

TaskResult RunState::result_locked(size_t index) const {
  const Slot& slot = slots_[index];
  const Origin& origin = origins_[slot.origin];
  TaskResult result;
  result.task = first_ == 0 ? 0 : first_ + index;
  result.executor = origin.executor;
  result.attempt = std::max<uint32_t>(1, origin.attempt);
  if (auto failure = failures_.find(index); failure != failures_.end()) {
    result.code = static_cast<Code>(failure->second.code);
    result.reason = failure->second.message;
  } else {
    result.output = std::string(slot.output.view());
  }
  return result;
}

void RunState::then(size_t index, Callback callback) {
  Lock lock(mutex_);
  if (!slots_[index].done) {
    callbacks_.emplace(index, std::move(callback));
    return;
  }
  auto result = result_locked(index);
  lock.unlock();
  callback(result);
}

}  // namespace flame::detail

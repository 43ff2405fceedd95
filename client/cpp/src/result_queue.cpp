// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/cpp/src/result_queue.hpp"

#include <algorithm>

#include "client/cpp/src/core/result_failures.hpp"
#include "client/cpp/src/errors.hpp"

namespace flame::detail {

void ResultQueue::push(proto::Results&& results) {
  std::lock_guard lock(mutex_);
  entries_.push_back(std::move(results));
  changed_.notify_one();
}

void ResultQueue::set_end(uint64_t done_end, bool closed) {
  std::lock_guard lock(mutex_);
  // Without follow, the end is what was done when the stream began.
  if (follow_ || !end_) end_ = done_end;
  closed_ = closed_ || closed;
  changed_.notify_one();
}

void ResultQueue::set_lineage(const std::string& lineage) {
  std::lock_guard lock(mutex_);
  if (cursor_.lineage.empty()) cursor_.lineage = lineage;
}

void ResultQueue::skip_to(uint64_t from, uint64_t to) {
  std::lock_guard lock(mutex_);
  cursor_.index = std::max(cursor_.index, to);
  failure_ = proto::Error{proto::Code::kTrimmed,
                          "results " + std::to_string(from) + " to " + std::to_string(to - 1) +
                              " were dropped before they were read; read on behind them"};
  changed_.notify_one();
}

void ResultQueue::fail(const proto::Error& error) {
  std::lock_guard lock(mutex_);
  failure_ = error;
  changed_.notify_one();
}

bool ResultQueue::at_end() const { return end_ && cursor_.index >= *end_ && (closed_ || !follow_); }

std::optional<proto::Results> ResultQueue::pop(Lock& lock, const Deadline& deadline) {
  auto ready = [this] { return !entries_.empty() || failure_ || at_end(); };
  if (!deadline) {
    changed_.wait(lock, ready);
  } else if (!changed_.wait_until(lock, *deadline, ready)) {
    raise({proto::Code::kTimeout, "no further result in time"});
  }
  if (entries_.empty()) {
    if (!failure_) return std::nullopt;
    proto::Error error = *failure_;
    if (error.code == proto::Code::kTrimmed) failure_.reset();
    raise(error);
  }
  auto entry = std::move(entries_.front());
  entries_.pop_front();
  return entry;
}

void ResultQueue::finish_entry(uint64_t index) {
  {
    std::lock_guard lock(mutex_);
    cursor_.index = std::max(cursor_.index, index + 1);
  }
  consumed_(index + 1);
}

std::optional<proto::Results> ResultQueue::next_entry(const Deadline& deadline) {
  std::optional<proto::Results> entry;
  {
    Lock lock(mutex_);
    entry = pop(lock, deadline);
  }
  if (entry) finish_entry(entry->index);
  return entry;
}

std::optional<TaskResult> ResultQueue::next(const Deadline& deadline) {
  if (!current_) {
    Lock lock(mutex_);
    current_ = pop(lock, deadline);
    if (!current_) return std::nullopt;
    reader_ = proto::ElementReader(current_->payload.view());
    at_ = 0;
  }
  TaskResult result;
  result.task = current_->run.first + at_;
  result.executor = current_->executor;
  result.attempt = std::max<uint32_t>(1, current_->attempt);
  auto output = reader_.next();
  if (auto failure = client::failure_of(*current_, result.task); failure != nullptr) {
    result.code = static_cast<Code>(failure->code);
    result.reason = failure->reason;
  } else if (output) {
    result.output = std::string(*output);
  }
  if (++at_ == current_->run.count) {
    uint64_t index = current_->index;
    current_.reset();
    finish_entry(index);
  }
  return result;
}

Cursor ResultQueue::cursor() const {
  std::lock_guard lock(mutex_);
  return cursor_;
}

}  // namespace flame::detail

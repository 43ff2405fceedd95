// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "flame/future.hpp"

#include <deque>

#include "client/cpp/src/errors.hpp"
#include "client/cpp/src/run_state.hpp"

namespace flame {

namespace {

using detail::RunState;

const std::shared_ptr<RunState>& checked(const std::shared_ptr<RunState>& state) {
  if (state == nullptr)
    throw Error(Code::kBadRequest, "this future is empty: it came from no submit");
  return state;
}

RunState::Deadline after(std::chrono::milliseconds time) {
  auto now = std::chrono::steady_clock::now();
  if (time >= std::chrono::hours(24 * 365)) return std::nullopt;
  return now + time;
}

}  // namespace

uint64_t Future::id() const {
  checked(state_)->wait_for_id(std::nullopt);
  return detail::value_or_raise(state_->first()) + index_;
}

bool Future::ready() const {
  return checked(state_)->wait(index_, std::chrono::steady_clock::time_point{});
}
void Future::wait() const { checked(state_)->wait(index_, std::nullopt); }
bool Future::wait_for(std::chrono::milliseconds time) const {
  return checked(state_)->wait(index_, after(time));
}

TaskResult Future::result() const {
  wait();
  if (auto refusal = state_->refusal()) detail::raise(*refusal);
  return state_->result(index_);
}

std::string Future::get() const {
  auto result = this->result();
  if (!result.ok()) throw Error(result.code, result.reason);
  return std::move(result.output);
}

void Future::then(std::function<void(const TaskResult&)> callback) const {
  checked(state_)->then(index_, std::move(callback));
}

namespace detail {

/// Filled by callbacks on the I/O thread, emptied by the thread that iterates.
class CompletionQueue {
 public:
  explicit CompletionQueue(std::span<const Future> futures)
      : futures_(futures.begin(), futures.end()) {}

  static void watch(const std::shared_ptr<CompletionQueue>& queue) {
    for (size_t i = 0; i < queue->futures_.size(); i++) {
      queue->futures_[i].then([queue, i](const TaskResult&) { queue->push(i); });
    }
  }
  std::optional<Future> next() {
    std::unique_lock lock(mutex_);
    if (returned_ == futures_.size()) return std::nullopt;
    changed_.wait(lock, [this] { return !ready_.empty(); });
    Future future = futures_[ready_.front()];
    ready_.pop_front();
    returned_++;
    return future;
  }

 private:
  void push(size_t index) {
    std::lock_guard lock(mutex_);
    ready_.push_back(index);
    changed_.notify_one();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Future> futures_;
  std::deque<size_t> ready_;
  size_t returned_ = 0;
};

}  // namespace detail

AsCompleted::AsCompleted(std::span<const Future> futures)
    : queue_(std::make_shared<detail::CompletionQueue>(futures)) {
  detail::CompletionQueue::watch(queue_);
}
AsCompleted::~AsCompleted() = default;
AsCompleted::AsCompleted(AsCompleted&&) noexcept = default;
AsCompleted& AsCompleted::operator=(AsCompleted&&) noexcept = default;
std::optional<Future> AsCompleted::next() { return queue_->next(); }

bool wait_all(std::span<const Future> futures, std::chrono::milliseconds time) {
  auto until = std::chrono::steady_clock::now() +
               std::min<std::chrono::milliseconds>(time, std::chrono::hours(24 * 365));
  for (const auto& future : futures) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    if (!future.wait_for(std::max(left, std::chrono::milliseconds(0)))) return false;
  }
  return true;
}

}  // namespace flame

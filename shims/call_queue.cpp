// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "shims/call_queue.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "proto/elements.hpp"
#include "proto/limits.hpp"

namespace flame::shims {

bool CallQueue::Given::unwanted() const {
  return std::any_of(cancelled.begin(), cancelled.end(),
                     [&](const proto::Run& run) { return run.contains(next); });
}

void CallQueue::add(const std::vector<Frame>& frames) {
  for (const auto& frame : frames) {
    auto& given = frames_.emplace_back();
    given.next = frame.first;
    given.left = frame.count;
    given.attempt = frame.attempt;
    given.inputs = frame.elements;
    given.waits = frame.next;
  }
}

std::optional<CallQueue::Call> CallQueue::next() {
  for (auto at = frames_.begin(); at != frames_.end() && running_ < calls_max_;) {
    if (at->waits && at != frames_.begin()) break;
    if (at->running) {
      ++at;
      continue;
    }
    while (at->left > 0 && at->unwanted()) tell(*at, {});
    if (at->left == 0) {
      at = frames_.erase(at);
      continue;
    }
    at->running = true;
    running_++;
    uint32_t count = std::min(at->left, tasks_max_);
    size_t size = proto::skip_elements(at->inputs.view(), count).value_or(at->inputs.size());
    return Call{at->next, count, at->attempt, at->inputs.slice(0, size)};
  }
  return std::nullopt;
}

std::deque<CallQueue::Given>::iterator CallQueue::running_with(proto::TaskId first) {
  return std::find_if(frames_.begin(), frames_.end(),
                      [&](const Given& given) { return given.running && given.next == first; });
}

bool CallQueue::is_cancelled(proto::TaskId first) {
  auto found = running_with(first);
  return found != frames_.end() && found->unwanted();
}

void CallQueue::answer(proto::TaskId first, const std::vector<Answer>& answers) {
  auto found = running_with(first);
  if (found == frames_.end()) return;
  running_--;
  found->running = false;
  for (const auto& answer : answers) tell(*found, answer);
  if (found->left == 0) frames_.erase(found);
}

// One by one: the executor gathers what it tells the broker.
void CallQueue::tell(Given& given, const Answer& answer) {
  auto failure = answer.failure;
  auto output = answer.output;
  if (!failure && output.size() > proto::kPayloadBytesMax) {
    failure = output_too_large();
  }
  if (failure) output = {};
  std::string element;
  element.reserve(proto::element_size(output.size()));
  proto::append_element(element, output);
  Results results{given.next, 1, {}, proto::Bytes::own(std::move(element))};
  if (failure) results.failures.push_back(std::move(*failure));
  size_t taken = proto::skip_elements(given.inputs.view(), 1).value_or(given.inputs.size());
  given.inputs = given.inputs.slice(taken, given.inputs.size() - taken);
  given.next++;
  given.left--;
  events_.push_back({instance_, std::move(results)});
}

}  // namespace flame::shims

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/cpp/src/future_table.hpp"

#include "proto/elements.hpp"

namespace flame::detail {

void FutureTable::sent(uint64_t ticket, std::shared_ptr<RunState> state) {
  next_ticket_ = ticket + 1;
  unacknowledged_.emplace(ticket, std::move(state));
}

void FutureTable::acknowledged(uint64_t ticket, const proto::Run& run) {
  auto found = unacknowledged_.extract(ticket);
  if (found.empty()) return;
  found.mapped()->acknowledge(run.first);
  waiting_.insert_or_assign(run.first, Waiting{run.count, run.count, found.mapped()});
  settle_early();
}

void FutureTable::refused(uint64_t ticket, const proto::Error& error) {
  auto found = unacknowledged_.extract(ticket);
  if (found.empty()) return;
  found.mapped()->fail(error, true);
  settle_early();
}

void FutureTable::take(const proto::Results& results) {
  bool all_known = settle(results) == results.run.count;
  // Perhaps of a task whose submit is not acknowledged yet: kept until all sent so far are.
  if (!all_known && !unacknowledged_.empty()) early_.push_back({next_ticket_, results});
}

void FutureTable::settle_early() {
  uint64_t first = oldest_unacknowledged();
  for (const auto& early : early_) settle(early.results);
  while (!early_.empty() && early_.front().below <= first) early_.pop_front();
}

uint64_t FutureTable::settle(const proto::Results& results) {
  auto at = waiting_.upper_bound(results.run.first);
  if (at != waiting_.begin()) --at;
  std::vector<proto::Bytes> outputs;
  uint64_t known = 0;
  while (at != waiting_.end() && at->first < results.run.end()) {
    auto common = results.run.intersect({at->first, at->second.count});
    if (common.empty()) {
      ++at;
      continue;
    }
    if (outputs.empty()) {
      proto::ElementReader reader(results.payload.view());
      while (auto output = reader.next()) {
        outputs.push_back(results.payload.slice(
            static_cast<size_t>(output->data() - results.payload.data()), output->size()));
      }
      outputs.resize(std::max<size_t>(outputs.size(), results.run.count));
    }
    known += common.count;
    uint64_t fresh = at->second.state->take(results, outputs);
    at->second.open -= std::min(at->second.open, fresh);
    at = at->second.open == 0 ? waiting_.erase(at) : std::next(at);
  }
  return known;
}

void FutureTable::lose(const proto::Run& run) {
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    if (run.intersect({at->first, at->second.count}).empty()) {
      ++at;
      continue;
    }
    // Its ids may be given out again: what is left of it is lost as a whole.
    at->second.state->lose(run);
    at = run.contains(proto::Run{at->first, at->second.count}) ? waiting_.erase(at) : std::next(at);
  }
}

void FutureTable::fail_all(const proto::Error& error) {
  for (auto& [ticket, state] : unacknowledged_) state->fail(error, true);
  for (auto& [first, waiting] : waiting_) waiting.state->fail(error, false);
  unacknowledged_.clear();
  waiting_.clear();
  early_.clear();
}

}  // namespace flame::detail

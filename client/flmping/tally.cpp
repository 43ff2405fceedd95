// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmping/tally.hpp"

#include <algorithm>
#include <bit>

#include "client/cpp/src/core/result_failures.hpp"

namespace flame::ping {

namespace {
// The bits of word `word` that belong to ids [first, end), counted from 0.
uint64_t mask_of(uint64_t word, uint64_t first, uint64_t end) {
  uint64_t from = std::max(first, word * 64) - word * 64,
           to = std::min(end, word * 64 + 64) - word * 64;
  uint64_t upto = to == 64 ? ~uint64_t{0} : (uint64_t{1} << to) - 1;
  return upto & ~((uint64_t{1} << from) - 1);
}
}  // namespace

// How many of the run come for the first time.
uint64_t Tally::tick(proto::Run run) {
  uint64_t first = run.first - 1, end = run.end() - 1, fresh = 0;
  for (uint64_t word = first / 64; word * 64 < end; word++) {
    uint64_t mask = mask_of(word, first, end);
    fresh += static_cast<uint64_t>(std::popcount(mask & ~seen_[word]));
    seen_[word] |= mask;
  }
  return fresh;
}

void Tally::add(const proto::Results& results) {
  // An id that was never given is as wrong as one that comes twice.
  proto::Run known = results.run.intersect({1, tasks_});
  bool cancelled = client::is_cancelled_run(results);
  for (auto id = known.first; cancelled && id < known.end(); id++) {
    if (!seen(id)) failures_.add(results.exceptions.front());
  }
  for (const auto& failure : results.exceptions) {
    if (!cancelled && known.contains(failure.id) && !seen(failure.id)) failures_.add(failure);
  }
  uint64_t fresh = known.empty() ? 0 : tick(known);
  received_ += fresh;
  duplicates_ += results.run.count - fresh;
  if (results.attempt > 1) retried_ += fresh;
}

void Tally::lose(const proto::Run& run) {
  lost_ += run.count;
  proto::Run known = run.intersect({1, tasks_});
  for (uint64_t id = known.first; id < known.end(); id++) {
    if (!seen(id)) continue;
    seen_[(id - 1) / 64] &= ~(uint64_t{1} << ((id - 1) % 64));
    received_--;
  }
}

}  // namespace flame::ping

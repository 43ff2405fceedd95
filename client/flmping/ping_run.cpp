// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmping/ping_run.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "proto/elements.hpp"
#include "proto/limits.hpp"
#include "runtime/clock.hpp"

namespace flame::ping {

namespace {

constexpr uint64_t kWarmUp = 100;
// Stamps cost the broker a little, so of a long series only every so many runs have them.
constexpr uint64_t kStampEvery = 8;
constexpr uint64_t kStampAllBelow = 256;

uint64_t tasks_per_run(const Settings& settings) {
  if (settings.latency) return 1;
  uint64_t fit = proto::kRunBytesMax / proto::element_size(settings.input_size);
  return std::clamp<uint64_t>(fit, 1, std::min(proto::kRunTasksMax, settings.tasks));
}

proto::Bytes make_inputs(uint64_t tasks, uint64_t size) {
  std::string input(size, 'p'), payload;
  payload.reserve(tasks * proto::element_size(size));
  for (uint64_t i = 0; i < tasks; i++) proto::append_element(payload, input);
  return proto::Bytes::own(std::move(payload));
}

// Each output is "pong <id> took <us>".
int64_t sum_of_took_us(std::string_view payload) {
  constexpr std::string_view kWord = " took ";
  int64_t sum = 0;
  proto::ElementReader outputs(payload);
  while (auto output = outputs.next()) {
    size_t at = output->find(kWord);
    if (at == std::string_view::npos) continue;
    int64_t value = 0;
    const char* number = output->data() + at + kWord.size();
    std::from_chars(number, output->data() + output->size(), value);
    sum += value;
  }
  return sum;
}

}  // namespace

PingRun::PingRun(const Settings& settings, std::function<void()> ended)
    : settings_(settings),
      wanted_(settings.tasks + (settings.latency ? kWarmUp : 0)),
      run_tasks_(tasks_per_run(settings)),
      ended_(std::move(ended)),
      inputs_(make_inputs(run_tasks_, settings.input_size)),
      tally_(wanted_) {}

int64_t PingRun::duration_us() const {
  return std::max<int64_t>(
      0, last_result_us_ - (settings_.latency ? counted_from_us_ : first_submit_us_));
}

uint64_t PingRun::succeeded() const {
  uint64_t not_counted = settings_.latency ? kWarmUp : 0;
  return tally_.succeeded() - std::min(tally_.succeeded(), not_counted);
}

bool PingRun::stamp_wanted() const {
  return wanted_ / run_tasks_ < kStampAllBelow || tickets_ % kStampEvery == 1;
}

std::optional<client::OutgoingRun> PingRun::next_run() {
  // One at a time: the next only after the result of the one before.
  bool one_is_out = settings_.latency && given_ > tally_.received();
  if (over_ || given_ == wanted_ || one_is_out) return std::nullopt;
  sent_us_ = runtime::read_clock().mono_us;
  if (given_ == 0) first_submit_us_ = sent_us_;
  if (settings_.latency && given_ == kWarmUp) counted_from_us_ = sent_us_;
  uint64_t count = std::min(run_tasks_, wanted_ - given_);
  given_ += count;
  tickets_++;
  size_t bytes = count * proto::element_size(settings_.input_size);
  return client::OutgoingRun{tickets_, count, inputs_.slice(0, bytes), stamp_wanted()};
}

bool PingRun::on_results(proto::Results&& results) {
  auto now = runtime::read_clock();
  last_result_us_ = now.mono_us;
  if (!settings_.latency || results.run.first > kWarmUp) {
    if (settings_.latency) round_trips_.add(now.mono_us - sent_us_, 1);
    if (settings_.duration_ms > 0) in_tasks_us_ += sum_of_took_us(results.payload.view());
    stages_.add(results, now.wall_us);
  }
  tally_.add(results);
  received_.store(tally_.received(), std::memory_order_relaxed);
  if (tally_.complete()) end(std::nullopt);
  return true;
}

void PingRun::on_submit_failed(uint64_t, const proto::Error& error) { end(error); }
void PingRun::on_watch_failed(const proto::Error& error) { end(error); }

void PingRun::on_trimmed(uint64_t from, uint64_t to) {
  end(proto::Error{proto::Code::kTrimmed, "results " + std::to_string(from) + " to " +
                                              std::to_string(to) +
                                              " were dropped before they were read"});
}

void PingRun::on_changed(const proto::SessionChanged& change) {
  if (change.state == proto::SessionState::kClosed && change.counters.cancelled > 0) {
    end(proto::Error{proto::Code::kWrongState, "somebody else closed the session"});
  }
}

void PingRun::on_lost(const proto::Run& run) {
  tally_.lose(run);
  // Their inputs are all alike: submit as many again.
  given_ -= std::min(given_, run.count);
}

void PingRun::end(std::optional<proto::Error> error) {
  if (over_) return;
  over_ = true;
  error_ = std::move(error);
  ended_();
}

}  // namespace flame::ping

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/cpp/src/core/submit_window.hpp"

#include <algorithm>

namespace flame::client {

namespace {
constexpr size_t kHistoryMax = 16'384;
// Refusals behind a refused one come in a burst: resend once behind them.
constexpr uint32_t kGapWaitMs = 1;
}  // namespace

void SubmitWindow::add(const SubmitRun& run) { entries_.push_back({++last_number_, run, 0}); }

std::vector<proto::Submit> SubmitWindow::due(proto::Now now) {
  std::vector<proto::Submit> out;
  if (now.mono_us < hold_until_us_) return out;
  hold_until_us_ = 0;
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    if (entry->in_flight > 0) continue;
    entry->in_flight = 1;
    sendings_.push_back(entry->number);
    const SubmitRun& run = entry->run;
    out.push_back({run.uid, entry->number, run.count, run.sent_us, run.payload});
  }
  return out;
}

int64_t SubmitWindow::deadline() const {
  return hold_until_us_ > 0 && !entries_.empty() ? hold_until_us_ : kNever;
}

std::deque<SubmitWindow::Entry>::iterator SubmitWindow::find(uint64_t number) {
  return std::find_if(entries_.begin(), entries_.end(),
                      [number](const Entry& entry) { return entry.number == number; });
}

void SubmitWindow::answered(uint64_t number) {
  auto sending = std::find(sendings_.begin(), sendings_.end(), number);
  if (sending != sendings_.end()) sendings_.erase(sending);
  auto entry = find(number);
  if (entry != entries_.end() && entry->in_flight > 0) entry->in_flight--;
}

std::optional<Ticket> SubmitWindow::acknowledge(const proto::SubmitAckItem& item) {
  answered(item.number);
  auto entry = find(item.number);
  if (entry == entries_.end()) return std::nullopt;
  Ticket ticket = entry->run.ticket;
  entries_.erase(entry);
  acknowledged_ = std::max(acknowledged_, item.number);
  history_.emplace_back(item.number, item.run);
  if (history_.size() > kHistoryMax) history_.pop_front();
  return ticket;
}

SubmitWindow::Refused SubmitWindow::refuse(const proto::ErrorReply& reply, proto::Now now) {
  if (reply.code == proto::Code::kGap) return refuse_gap(reply.submit, now);
  answered(reply.submit);
  auto entry = find(reply.submit);
  if (entry == entries_.end()) return {};
  if (proto::row_of(reply.code).retry == proto::Retry::kNo) {
    Ticket ticket = entry->run.ticket;
    acknowledged_ = std::max(acknowledged_, entry->number);
    entries_.erase(entry);
    return {Refusal::kFinal, ticket};
  }
  if (entry->in_flight > 0) return {};
  hold_until_us_ = std::max(hold_until_us_, now.mono_us + retry_us(reply));
  return {Refusal::kRetry, 0};
}

// One of ours above `expected` was refused because `expected` was missing.
SubmitWindow::Refused SubmitWindow::refuse_gap(uint64_t expected, proto::Now now) {
  auto sending = std::find_if(sendings_.begin(), sendings_.end(),
                              [expected](uint64_t number) { return number > expected; });
  if (sending == sendings_.end()) return {};
  answered(*sending);
  if (entries_.empty()) return {};
  // Usually the missing one was refused before and is sent again with this one. Below the first
  // held one it is something that we no longer have.
  if (expected < entries_.front().number) return {Refusal::kUnknown, 0};
  hold_until_us_ = std::max(hold_until_us_, now.mono_us + int64_t{kGapWaitMs} * proto::kUsPerMs);
  return {Refusal::kRetry, 0};
}

void SubmitWindow::link_lost() {
  for (auto& entry : entries_) entry.in_flight = 0;
  sendings_.clear();
  hold_until_us_ = 0;
}

std::vector<proto::Run> SubmitWindow::resume(uint64_t last_submit) {
  std::vector<proto::Run> lost;
  if (last_submit >= acknowledged_) return lost;
  for (const auto& [number, run] : history_) {
    if (number > last_submit) lost.push_back(run);
  }
  std::erase_if(history_, [last_submit](const auto& item) { return item.first > last_submit; });
  acknowledged_ = last_number_ = last_submit;
  for (auto& entry : entries_) {
    if (entry.number > last_submit) entry.number = ++last_number_;
  }
  return lost;
}

std::vector<Ticket> SubmitWindow::take_all() {
  std::vector<Ticket> tickets;
  for (const auto& entry : entries_) tickets.push_back(entry.run.ticket);
  entries_.clear();
  sendings_.clear();
  hold_until_us_ = 0;
  return tickets;
}

}  // namespace flame::client

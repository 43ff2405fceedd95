// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/hands.hpp"

#include <algorithm>

#include "broker/core/results.hpp"
#include "proto/elements.hpp"
#include "runtime/assert.hpp"

namespace flame::broker {

using proto::Run;

namespace {

// A part of a hand: same ticket, its share of the bytes.
Hand part_of(const Hand& hand, const Run& run) {
  Hand part = hand;
  part.run = run;
  part.bytes = hand.bytes * run.count / hand.run.count;
  return part;
}

void subtract(Share& share, const Hand& hand) {
  FLAME_ASSERT(share.tasks >= hand.run.count);
  share.tasks -= hand.run.count;
  share.bytes -= std::min(share.bytes, hand.bytes);
}

uint64_t max_attempts(const State& state, const Session& session) {
  auto application = application_of(state, session);
  return application == nullptr ? proto::kMaxAttempts : application->max_attempts;
}

// Parked: a task that kills whoever runs it must not be retried for ever.
void fail(State& state, Session& session, const Hand& hand, proto::Code code,
          const std::string& reason, const proto::Now& now) {
  Outcome outcome;
  outcome.run = hand.run;
  outcome.head.attempt = hand.attempt;
  outcome.head.base_ms = static_cast<uint64_t>(now.wall_ms());
  std::string elements;
  std::string text = reason + " (" + std::to_string(hand.attempt) + " attempts)";
  for (proto::TaskId id = hand.run.first; id < hand.run.end(); id++) {
    outcome.head.exceptions.push_back({id, code, text.substr(0, proto::kReasonBytesMax)});
    proto::append_element(elements, "");
  }
  outcome.elements = proto::Bytes::own(std::move(elements));
  record(state, session, std::move(outcome), now);
  add_event(state, session, now, "failed", to_string(hand.run) + ": " + text);
}

}  // namespace

std::vector<Run> hands_within(const Share& share, const Run& run) {
  std::vector<Run> found;
  auto at = share.hands.upper_bound(run.first);
  if (at != share.hands.begin()) --at;
  for (; at != share.hands.end() && at->first < run.end(); ++at) {
    if (auto common = at->second.run.intersect(run); !common.empty()) found.push_back(common);
  }
  return found;
}

std::vector<Hand> take_hands(Share& share, const Run& run) {
  std::vector<Hand> taken;
  auto at = share.hands.upper_bound(run.first);
  if (at != share.hands.begin()) --at;
  while (at != share.hands.end() && at->first < run.end()) {
    Hand hand = at->second;
    Run common = hand.run.intersect(run);
    if (common.empty()) {
      ++at;
      continue;
    }
    at = share.hands.erase(at);
    subtract(share, hand);
    if (hand.run.first < common.first) {
      add_hand(share, part_of(hand, {hand.run.first, common.first - hand.run.first}));
    }
    if (common.end() < hand.run.end()) {
      add_hand(share, part_of(hand, {common.end(), hand.run.end() - common.end()}));
      at = share.hands.find(common.end());
    }
    taken.push_back(part_of(hand, common));
  }
  return taken;
}

std::vector<Hand> take_all_hands(Share& share) {
  std::vector<Hand> taken;
  for (auto& [first, hand] : share.hands) taken.push_back(std::move(hand));
  share.hands.clear();
  share.tasks = share.bytes = 0;
  return taken;
}

void add_hand(Share& share, Hand hand) {
  share.tasks += hand.run.count;
  share.bytes += hand.bytes;
  share.hands.emplace(hand.run.first, std::move(hand));
}

void drop_empty_share(Executor& executor, proto::SessionUid uid) {
  auto share = executor.shares.find(uid);
  if (share == executor.shares.end()) return;
  const Share& left = share->second;
  if (left.slots_wanted == 0 && left.hands.empty() && left.cancelled.empty()) {
    executor.shares.erase(share);
  }
}

void requeue(State& state, Session& session, const std::vector<Hand>& hands, Charge charge,
             proto::Code code, const std::string& reason, const proto::Now& now) {
  PutAttempts attempts{session.name, {}};
  for (const auto& hand : hands) {
    FLAME_ASSERT(session.counters.running >= hand.run.count);
    session.counters.running -= hand.run.count;
    proto::Attempt charged = hand.attempt - (charge == Charge::kYes ? 0 : 1);
    if (charge == Charge::kYes && charged >= max_attempts(state, session)) {
      fail(state, session, hand, code, reason, now);
      continue;
    }
    session.counters.pending += hand.run.count;
    session.tasks.wait_front({hand.run, charged});
    set_letters(session, hand.run, proto::TaskState::kPending);
    if (charge == Charge::kNo) {
      state.totals.returned += hand.run.count;
      continue;
    }
    (code == proto::Code::kOk ? state.totals.retried_lost : state.totals.retried_crashed) +=
        hand.run.count;
    for (proto::TaskId id = hand.run.first; id < hand.run.end(); id++) {
      session.charged[id] = charged;
      attempts.charged.emplace_back(id, charged);
    }
    add_event(state, session, now, "retried", to_string(hand.run) + ": " + reason);
  }
  if (!attempts.charged.empty()) state.ops.push_back(std::move(attempts));
  touch(state, session);
  state.plan_due = true;
}

void cancel_at(State& state, Executor& executor, proto::SessionUid uid, std::vector<Run> runs) {
  if (runs.empty()) return;
  auto& cancelled = executor.shares[uid].cancelled;
  cancelled.insert(cancelled.end(), runs.begin(), runs.end());
  // Behind their dispatch, which may wait for a batch still.
  send_after(state, Port::kExecutors, executor.peer, proto::CancelRuns{uid, std::move(runs)});
}

std::vector<Run> take_running(State& state, Session& session, const std::vector<Run>& runs,
                              const Executor* but) {
  std::vector<Run> taken;
  for (const auto& run : runs) {
    for (const auto& orphan : session.tasks.claim_orphans(run)) taken.push_back(orphan);
  }
  for (auto& [id, executor] : state.executors) {
    auto share = executor.shares.find(session.uid);
    if (share == executor.shares.end()) continue;
    std::vector<Run> here;
    for (const auto& run : runs) {
      for (const auto& hand : take_hands(share->second, run)) here.push_back(hand.run);
    }
    taken.insert(taken.end(), here.begin(), here.end());
    if (&executor != but) cancel_at(state, executor, session.uid, std::move(here));
  }
  for (const auto& run : taken) session.counters.running -= run.count;
  return taken;
}

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What executors have in hand: taking it off them, giving it back to the queue.

#include <vector>

#include "broker/core/state.hpp"

namespace flame::broker {

/// The parts of `run` that the share has in hand, in order.
std::vector<proto::Run> hands_within(const Share& share, const proto::Run& run);
/// Takes the parts of `run` out of the share's hands; the rest of a cut hand stays.
std::vector<Hand> take_hands(Share& share, const proto::Run& run);
/// All of them.
std::vector<Hand> take_all_hands(Share& share);
void add_hand(Share& share, Hand hand);
/// A share without slots and hands ends: an executor does not remember every session it ever
/// served.
void drop_empty_share(Executor& executor, proto::SessionUid uid);

enum class Charge : uint8_t { kNo, kYes };

/// Running ids go back to the front of the queue. Charged ones that reached max_attempts fail with
/// `code` and `reason` instead.
void requeue(State& state, Session& session, std::vector<Hand> hands, Charge charge,
             proto::Code code, const std::string& reason, const proto::Now& now);

/// Tells the executor to stop these parts, which are no longer in its hands here. Until it says
/// that they ended they count against its window.
void cancel_at(State& state, Executor& executor, proto::SessionUid uid,
               std::vector<proto::Run> runs);
/// It said so.
void release_cancelled(Share& share, const proto::Run& run);

/// Every executor that has something of the session is told to stop it.
void cancel_hands(State& state, Session& session);

}  // namespace flame::broker

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
void requeue(State& state, Session& session, const std::vector<Hand>& hands, Charge charge,
             proto::Code code, const std::string& reason, const proto::Now& now);

/// Tells the executor to stop these parts, which are no longer in its hands here. Until it says
/// that they ended they count against its window.
void cancel_at(State& state, Executor& executor, proto::SessionUid uid,
               std::vector<proto::Run> runs);

/// Takes the parts of `runs` that run out of executors' hands and the orphans, wherever they are;
/// every executor but `but` is told to stop its own.
std::vector<proto::Run> take_running(State& state, Session& session,
                                     const std::vector<proto::Run>& runs, const Executor* but);

}  // namespace flame::broker

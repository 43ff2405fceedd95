// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/core.hpp"

#include <algorithm>

#include "broker/core/clients.hpp"
#include "broker/core/contexts.hpp"
#include "broker/core/delivery.hpp"
#include "broker/core/demand.hpp"
#include "broker/core/dispatch.hpp"
#include "broker/core/durability.hpp"
#include "broker/core/executors.hpp"
#include "broker/core/lifecycle.hpp"
#include "broker/core/logs.hpp"
#include "broker/core/progress.hpp"
#include "broker/core/recovery.hpp"
#include "broker/core/results.hpp"
#include "broker/core/retention.hpp"
#include "broker/core/task_questions.hpp"
#include "proto/process_exit.hpp"

namespace flame::broker {

namespace {

constexpr int64_t kTickUs = 100 * proto::kUsPerMs;

template <class... F>
struct Overload : F... {
  using F::operator()...;
};
template <class... F>
Overload(F...) -> Overload<F...>;  // clang 14 does not find it by itself

void answer_bad_frame(State& state, const BadFrame& bad) {
  state.totals.rejected[std::string(proto::name_of(bad.error.code))]++;
  // Without a link of its own: the peer may not even speak our version.
  state.actions.push_back(Send{
      bad.port,
      bad.peer,
      {0, 0},
      proto::ErrorReply{0, bad.error.code, bad.error.message, bad.error.retry_after_ms, 0, 0}});
}

}  // namespace

Core::Core(CoreConfig config) {
  state_.random = config.seed;
  state_.config = std::move(config);
}

void Core::on(Event event, const proto::Now& now) {
  follow_clock(state_, now);
  std::visit(
      Overload{[&](PeerMessage& m) {
                 auto handle = m.port == Port::kClients ? on_client_message : on_executor_message;
                 handle(state_, m.peer, m.envelope, std::move(m.message), now);
               },
               [&](BadFrame& bad) { answer_bad_frame(state_, bad); },
               [&](PeerGone& gone) {
                 auto handle = gone.port == Port::kClients ? on_client_gone : on_executor_gone;
                 handle(state_, gone.peer);
               },
               [&](StoreEvent& store) { on_store(std::move(store), now); }},
      event);
}

void Core::on_store(StoreEvent event, const proto::Now& now) {
  std::visit(
      Overload{[&](Recovered& e) { recover(state_, e, now); },
               [&](BatchStored& e) { on_batch_stored(state_, e.number, now); },
               [&](Durable& e) { on_durable(state_, e); },
               [&](DurableLate& e) { on_durable_late(state_, std::move(e)); },
               [&](StoreHealth& e) {
                 // A reason often changes while Redis comes back: gone, then loading, then a
                 // replica.
                 bool news = e.writable != state_.health.writable || e.busy != state_.health.busy ||
                             (!e.writable && e.error.message != state_.health.error.message);
                 if (news) {
                   note(state_, !e.writable || e.busy,
                        e.writable
                            ? (e.busy ? "store busy: " + e.error.message : "store writable again")
                            : "store not writable: " + e.error.message);
                 }
                 state_.health = std::move(e);
                 if (news) tell_trouble(state_);
                 if (!state_.health.writable) return on_store_away(state_);
                 ask_durable(state_, state_.confirmed_batch());
               },
               [&](SessionRefused& e) {
                 Session* session = state_.session_named(e.session);
                 if (session == nullptr) return;
                 std::erase_if(state_.after_flight, [&](const Send& send) {
                   auto ack = std::get_if<proto::SubmitAck>(&send.message);
                   return ack != nullptr && ack->uid == session->uid;
                 });
                 suspend_session(state_, *session, e.reason, now);
               },
               [&](Fenced& e) {
                 state_.serving = false;
                 state_.after.clear();
                 state_.after_flight.clear();
                 forget_levels(state_);
                 state_.actions.clear();  // nothing leaves a replaced broker
                 state_.actions.push_back(Stop{proto::kExitReplaced, e.reason});
               },
               [&](LineageBroken& e) { on_lineage_broken(state_, e.reason); },
               [&](StoreClosed& e) {
                 if (e.error.code != proto::Code::kOk) note(state_, true, e.error.message);
                 state_.actions.push_back(Stop{e.error.code == proto::Code::kOk ? 0 : 1, "left"});
               },
               [&](LineageAccepted&) { state_.waits_for_recover = false; },
               [&](OutputsRead& e) { on_outputs_read(state_, std::move(e)); },
               [&](InputsRead& e) {
                 if (!on_question_inputs(state_, e)) on_inputs_read(state_, std::move(e), now);
               },
               [&](CommonRead& e) { on_common_read(state_, std::move(e)); },
               [&](EventsRead& e) { on_events_read(state_, std::move(e)); },
               [&](StatesRead& e) { on_states_read(state_, e); },
               [&](OutputsFound& e) { on_outputs_found(state_, std::move(e)); },
               [&](ScaleRead& e) { on_scale_read(state_, std::move(e)); }},
      event);
}

void Core::tick(const proto::Now& now, bool drained) {
  follow_clock(state_, now);
  // A broker that was paused must not kill its cluster on waking: its own gap is added to every
  // lease.
  // Once: one that is late again and again is not paused but busy, and would never notice a loss.
  int64_t gap = state_.last_tick_us == 0 ? 0 : now.mono_us - state_.last_tick_us;
  bool was_late = std::exchange(state_.was_late, gap > 5 * kTickUs);
  if (gap > 5 * kTickUs && !was_late) {
    for (auto& [id, executor] : state_.executors) executor.lease_until_us += gap;
    for (auto& [peer, client] : state_.clients) client.lease_until_us += gap;
    if (state_.readopt_until_us != 0) state_.readopt_until_us += gap;
  }
  if (gap < kTickUs && state_.last_tick_us != 0) return;
  state_.last_tick_us = now.mono_us;
  tick_clients(state_, now, drained);
  tick_executors(state_, now, drained);
  tell_progress(state_);
  end_log_questions(state_, now);
  if (!state_.serving) return;
  requeue_orphans(state_, now);
  if (now.mono_us >= state_.retention_due_us) {
    state_.retention_due_us = now.mono_us + proto::kUsPerSecond;
    apply_retention(state_, now);
    state_.plan_due = true;  // whatever an event forgot to say is seen within a second
    for (auto& [uid, session] : state_.sessions) {
      if (!session->tasks.any_waiting() && session->watchers.empty()) continue;
      state_.ready.insert(uid);
      offer_missing_contexts(state_, *session);
      deliver(state_, *session);
    }
  }
  write_demand(state_, now);
}

int64_t Core::next_tick_us(const proto::Now& now) const {
  int64_t next = state_.last_tick_us + kTickUs;
  // While a batch is in flight nothing is planned: its reply wakes us.
  bool may_plan = state_.serving && !state_.in_flight;
  if (state_.plan_again_us != 0 && may_plan) next = std::min(next, state_.plan_again_us);
  if (state_.recorded_due_us != 0 && may_plan) next = std::min(next, state_.recorded_due_us);
  return std::max(next, now.mono_us);
}

std::optional<Batch> Core::close_batch(const proto::Now& now) {
  // Only reads are answered then, and nothing that they say waits for a batch.
  if (state_.waits_for_recover) broker::leave(state_, state_.after);
  if (state_.in_flight || !state_.serving) return std::nullopt;
  return broker::close_batch(state_, now);
}

std::vector<Action> Core::take_actions() { return std::exchange(state_.actions, {}); }

void Core::leave() {
  state_.serving = false;
  state_.not_serving_because = "the broker is leaving; it comes back under the same address";
}

bool Core::accepts_clients() const {
  // Without a store nothing fills: submits are refused with a reason instead of waiting in a
  // socket.
  return !state_.health.writable || !state_.submits_filling.full();
}
bool Core::accepts_executors() const { return !state_.results_filling.full(); }

}  // namespace flame::broker

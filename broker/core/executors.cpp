// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/executors.hpp"

#include <algorithm>

#include "broker/core/beats.hpp"
#include "broker/core/contexts.hpp"
#include "broker/core/hands.hpp"
#include "broker/core/holds.hpp"
#include "broker/core/lifecycle.hpp"
#include "broker/core/logs.hpp"
#include "broker/core/progress.hpp"
#include "broker/core/results.hpp"
#include "broker/core/ticket.hpp"
#include "proto/run_list.hpp"
#include "proto/text.hpp"

namespace flame::broker {

using proto::Code;
using proto::ExecutorState;
using proto::Run;

namespace {

// To a peer that has no link yet: the answer is the first message of the one it proposed.
void answer_hello(State& state, const Peer& peer, uint32_t link, const proto::Error& error) {
  state.totals.rejected[std::string(proto::name_of(error.code))]++;
  state.actions.push_back(
      Send{Port::kExecutors,
           peer,
           {link, 1},
           proto::ErrorReply{0, error.code, error.message, error.retry_after_ms, 0, 0}});
}

proto::Status check_hello(const State& state, const proto::ExecutorHello& hello) {
  if (!hello.cluster.empty() && hello.cluster != state.config.cluster) {
    return proto::Error{Code::kCluster, "this broker serves cluster '" + state.config.cluster +
                                            "', not '" + proto::printable(hello.cluster, 60) + "'"};
  }
  if (auto name = proto::check_name("executor", hello.executor); !name) return name.error();
  if (hello.slots == 0 || hello.slots > proto::kSlotsMax) {
    return proto::Error{Code::kBadRequest,
                        "an executor has 1 to " + std::to_string(proto::kSlotsMax) + " slots"};
  }
  for (const auto& binding : hello.bindings) {
    if (binding.slot >= hello.slots) return proto::Error{Code::kBadRequest, "a binding of no slot"};
  }
  return {};
}

// The same id in another process: the old one is lost if it is gone or silent, else the new one has
// to wait.
bool replaces(State& state, const Peer& peer, uint32_t link, Executor& old, const proto::Now& now) {
  bool silent = old.lease_until_us - beat_us(old) < now.mono_us;  // two beats are missing
  if (old.gone || silent) {
    lose_executor(state, old, ExecutorState::kLost, "another process took its id", now);
    return true;
  }
  send_now(state, old, proto::Beat{});  // shows whether anybody is there
  answer_hello(
      state, peer, link,
      {Code::kAlreadyExists,
       "an executor named '" + old.id + "' is connected; give this one another --id", 500});
  return false;
}

// Sorts what the executor says it has in hand against what the broker believes and knows.
void claim(State& state, Executor& executor, const proto::HandRun& said,
           std::map<proto::SessionUid, Share>& believed) {
  Session* session = state.session(said.uid);
  bool ours = session != nullptr && said.ticket.run.contains(said.run) && !said.run.empty() &&
              ticket_is_ours(said.ticket, state.secret, said.uid, executor.id);
  if (!ours) return send_now(state, executor, proto::CancelRuns{said.uid, {said.run}});
  // Listed twice, it is still in hand once: a cancel would reach both.
  std::vector<Run> claimed = hands_within(executor.shares[said.uid], said.run);
  size_t before = claimed.size();
  for (auto& hand : take_hands(believed[said.uid], said.run)) claimed.push_back(hand.run);
  for (const auto& orphan : session->tasks.claim_orphans(said.run)) claimed.push_back(orphan);
  for (const auto& waiting : session->tasks.take(said.run)) {
    session->counters.pending -= waiting.run.count;
    session->counters.running += waiting.run.count;
    set_letters(*session, waiting.run, proto::TaskState::kRunning);
    claimed.push_back(waiting.run);
  }
  for (size_t i = before; i < claimed.size(); i++) {
    add_hand(executor.shares[said.uid], {claimed[i], said.ticket.run, said.ticket.attempt,
                                         said.ticket.epoch, said.ticket.token, 0, 0});
  }
  std::vector<Run> unknown{said.run};
  for (const auto& run : claimed) proto::take_out(unknown, run);
  // Leaves when their results are confirmed: until then only the executor has them for certain.
  cancel_at(state, executor, said.uid, std::move(unknown));
  touch(state, *session);
}

// Its limit holds also for what executors bring along after a restart of the broker.
bool may_have_slot(const Session& session) {
  uint64_t max = session.spec.max_instances;
  return session.dispatches() && (max == 0 || session.slots_bound < max);
}

// What a slot serves already is what it should serve, as long as that session lives: its service is
// running.
void adopt_bindings(State& state, Executor& executor, const proto::ExecutorHello& hello,
                    const proto::Now& now) {
  for (auto& slot : executor.slots) slot.bound = slot.bound_generation = 0, slot.failed = false;
  for (auto& [uid, share] : executor.shares) share.slots_bound = 0;
  for (const auto& binding : hello.bindings) {
    Slot& slot = executor.slots[binding.slot];
    Session* session = state.session(binding.uid);
    slot.bound = session == nullptr ? 0 : binding.uid;
    slot.bound_generation = binding.generation;
    bool may = executor.takes_tasks() && session != nullptr && may_have_slot(*session);
    if (slot.wanted == 0 && may) {
      slot.wanted = binding.uid;
      slot.generation = binding.generation;
      executor.shares[binding.uid].slots_wanted++;
      state.to_plan.emplace(binding.uid, session);
      if (session->slots_bound++ == 0) session->bound_us = now.mono_us;
    }
    slot.generation = std::max(slot.generation, binding.generation);
    if (slot.wanted != binding.uid && slot.generation == binding.generation) slot.generation++;
    if (slot.bound != 0 && slot.bound == slot.wanted) executor.shares[slot.bound].slots_bound++;
    if (session != nullptr) note_slots(state, *session, executor, now);
  }
  executor.bind_due = true;
}

// A process has the slots it began with; one that says otherwise must not leave its sessions with
// slots of nobody.
void resize_slots(State& state, Executor& executor, uint64_t count) {
  for (size_t i = count; i < executor.slots.size(); i++) {
    auto wanted = executor.slots[i].wanted;
    if (Session* session = state.session(wanted)) session->slots_bound--;
    if (wanted != 0) release_share(executor, wanted);
  }
  state.slots_connected += count - executor.slots.size();
  executor.slots.resize(count);
}

// Every plan looks at every slot.
proto::Status check_slots(const State& state, const proto::ExecutorHello& hello) {
  auto known = state.executors.find(hello.executor);
  uint64_t had = known == state.executors.end() ? 0 : known->second.slots.size();
  uint64_t slots = state.slots_connected - had + hello.slots;
  if (slots <= proto::kClusterSlotsMax) return {};
  return proto::Error{Code::kBusy,
                      "the cluster would have " + std::to_string(slots) + " slots; at most " +
                          std::to_string(proto::kClusterSlotsMax) + " (cluster_slots_max)",
                      10'000};
}

Executor& admit(State& state, const Peer& peer, const proto::Envelope& envelope,
                const proto::ExecutorHello& hello, const proto::Now& now) {
  Executor& executor = state.executors[hello.executor];
  if (executor.serves()) state.executor_peers.erase(executor.peer);
  if (executor.nonce != hello.nonce) {
    proto::Hold hold = hold_after_restart(executor, hello);
    executor = {};
    executor.hold = hold;
    executor.id = hello.executor;
    executor.nonce = hello.nonce;
    executor.connected_ms = executor.worked_ms = now.wall_ms();
  }
  executor.peer = peer;
  executor.link = proto::Link(envelope.link);
  (void)executor.link.receive(envelope);
  executor.only_application = hello.application;
  executor.address = proto::printable(hello.address, 128);
  executor.version = proto::printable(hello.version, 64);
  executor.provider = proto::printable(hello.provider, proto::kProviderBytesMax);
  executor.instance = instance_of(hello);
  executor.state = ExecutorState::kConnected;
  executor.gone = false;
  executor.dirty = true;
  executor.idle_beat_us = 0;
  heard_from(executor, now);
  executor.beat_due_us = now.mono_us + kBeatUs;
  executor.seen_ms = now.wall_ms();
  resize_slots(state, executor, hello.slots);
  state.executor_peers[peer] = executor.id;
  return executor;
}

void on_hello(State& state, const Peer& peer, const proto::Envelope& envelope,
              const proto::ExecutorHello& hello, const proto::Now& now) {
  if (auto status = check_hello(state, hello); !status) {
    return answer_hello(state, peer, envelope.link, status.error());
  }
  if (!state.serving) {
    return answer_hello(state, peer, envelope.link,
                        {Code::kRecovering, state.not_serving_because, 500});
  }
  auto old = state.executors.find(hello.executor);
  // Every hello proposes a link of its own: this one came twice.
  if (old != state.executors.end() && old->second.serves() && old->second.peer == peer &&
      old->second.nonce == hello.nonce && old->second.link.id() == envelope.link) {
    return;
  }
  if (old != state.executors.end() && old->second.serves() && old->second.nonce != hello.nonce &&
      !replaces(state, peer, envelope.link, old->second, now)) {
    return;
  }
  // One connection is one executor.
  auto here = state.executor_peers.find(peer);
  if (here != state.executor_peers.end() && here->second != hello.executor) {
    lose_executor(state, state.executors.at(here->second), ExecutorState::kLost,
                  "its connection registered another executor", now);
  }
  if (auto status = check_slots(state, hello); !status)
    return answer_hello(state, peer, envelope.link, status.error());
  Executor& executor = admit(state, peer, envelope, hello, now);
  send_now(state, executor,
           proto::ExecutorWelcome{proto::kProtocolMinor, state.config.version, state.config.cluster,
                                  state.epoch, state.lineage, proto::kBeatMs, proto::kLeaseMs});
  std::map<proto::SessionUid, Share> believed;
  for (auto& [uid, share] : executor.shares) {
    for (auto& hand : take_all_hands(share)) add_hand(believed[uid], std::move(hand));
    share.cancelled.clear();  // what it has of them still it lists, and is told again
  }
  for (const auto& said : hello.hand) claim(state, executor, said, believed);
  // Believed but not listed: it never arrived, or came back already.
  for (auto& [uid, share] : believed) {
    Session* session = state.session(uid);
    auto lost = take_all_hands(share);
    if (session != nullptr && !lost.empty()) {
      requeue(state, *session, lost, Charge::kNo, Code::kOk, "", now);
    }
  }
  adopt_bindings(state, executor, hello, now);
  for (const auto& window : hello.windows) {
    auto share = executor.shares.find(window.uid);
    if (share == executor.shares.end()) continue;
    share->second.window_tasks = std::min(window.tasks, proto::kWindowTasksMax);
    share->second.window_bytes = std::min(window.bytes, proto::kWindowBytesMax);
    state.ready.insert(window.uid);
  }
  adopt_contexts(state, executor, hello.contexts);
  send_bind(state, executor, now);
  tell_hold(state, executor);
  state.plan_due = true;
}

// ---- messages on a link
// ---------------------------------------------------------------------------------

void on(State& state, Executor& executor, proto::Beat beat, const proto::Now&) {
  (void)state;
  executor.busy_slots = beat.status;
}

void on(State& state, Executor& executor, const proto::Window& message, const proto::Now&) {
  for (const auto& window : message.windows) {
    auto share = executor.shares.find(window.uid);
    if (share == executor.shares.end()) continue;
    share->second.window_tasks = std::min(window.tasks, proto::kWindowTasksMax);
    share->second.window_bytes = std::min(window.bytes, proto::kWindowBytesMax);
    state.ready.insert(window.uid);
  }
}

void on(State& state, Executor& executor, proto::TaskResults message, const proto::Now& now) {
  on_task_results(state, executor, std::move(message), now);
}

void on(State& state, Executor& executor, const proto::Returned& message, const proto::Now& now) {
  Session* session = state.session(message.uid);
  auto share = executor.shares.find(message.uid);
  if (share == executor.shares.end()) return;
  share->second.took_back = false;
  std::vector<Hand> back;
  for (const auto& run : message.runs) {
    proto::take_out(share->second.cancelled, run.run);
    // The answer to a cancel says nothing about what is in its hands: a part may have been
    // dispatched again since.
    if (message.code == Code::kTaskCancelled) continue;
    for (auto& hand : take_hands(share->second, run.run)) back.push_back(std::move(hand));
  }
  state.ready.insert(message.uid);
  drop_empty_share(executor, message.uid);
  if (session == nullptr || back.empty()) return;
  bool charged = message.code == Code::kTaskCrashed || message.code == Code::kTaskTimeout;
  auto reason = message.reason.substr(0, proto::kReasonBytesMax);
  if (!reason.empty()) session->reason = reason;
  requeue(state, *session, back, charged ? Charge::kYes : Charge::kNo, message.code, reason, now);
}

// It serves there, or is being started for the first time.
bool may_serve(const Executor& executor, proto::SessionUid uid) {
  return std::any_of(executor.slots.begin(), executor.slots.end(),
                     [uid](const Slot& slot) { return slot.wanted == uid && !slot.failed; });
}

// Others that wait have its slots until its next try, and for no shorter time than it had this one.
// Where nobody waits they stay, and the executors try again.
void start_failed(State& state, Executor& executor, Slot& slot, Session& session,
                  const proto::Now& now) {
  if (slot.bound_generation == slot.generation) {  // it served, and does not start again
    auto& bound = executor.shares[session.uid].slots_bound;
    bound -= std::min<uint64_t>(bound, 1);
    slot.bound = slot.bound_generation = 0;
    slot.tried_us = now.mono_us;
    executor.dirty = true;
  }
  slot.failed = true;
  int64_t had_us = now.mono_us - std::exchange(slot.tried_us, now.mono_us);
  had_us = std::min(had_us, int64_t{proto::kStartTimeoutMs} * proto::kUsPerMs);
  if (now.mono_us < session.start_after_us) return;
  for (const auto& id : session.at) {
    auto other = state.executors.find(id);
    if (other != state.executors.end() && may_serve(other->second, session.uid)) return;
  }
  session.start_after_us = now.mono_us + std::max(had_us, session.start_backoff.next_us());
  state.plan_due = true;
}

void on(State& state, Executor& executor, const proto::Bound& message, const proto::Now& now) {
  const auto& said = message.binding;
  if (said.slot >= executor.slots.size()) return;
  Slot& slot = executor.slots[said.slot];
  Session* session = state.session(said.uid);
  if (message.code == Code::kNotFound && session != nullptr && said.uid == slot.wanted) {
    // It does not have the context, whatever was believed: said again, and the binding with it.
    executor.shares[said.uid].has_context = false;
    offer_context(state, executor, *session);
    return;
  }
  if (message.code != Code::kOk) {
    if (session == nullptr) return;
    auto reason = message.reason.substr(0, proto::kReasonBytesMax);
    if (session->reason != reason) add_event(state, *session, now, "bind_failed", reason);
    session->reason = reason;
    note(state, true, "session " + session->name + ": the service does not start: " + reason);
    if (said.generation == slot.generation && said.uid == slot.wanted)
      start_failed(state, executor, slot, *session, now);
    return;
  }
  if (said.generation != slot.generation || said.uid != slot.wanted) return;  // an older wish
  if (slot.bound_generation == said.generation && slot.bound == said.uid) return;
  slot.bound = said.uid;
  slot.bound_generation = said.generation;
  slot.failed = false;
  executor.dirty = true;
  if (session == nullptr) return;
  session->reason.clear();  // whatever kept its service from starting is over
  session->start_after_us = 0;
  session->start_backoff.reset();
  Share& share = executor.shares[said.uid];
  share.slots_bound++;
  share.window_tasks = std::max(share.window_tasks, share.slots_bound);
  share.window_bytes = std::max<uint64_t>(share.window_bytes, 1);
  note_slots(state, *session, executor, now);
  state.ready.insert(said.uid);
}

void on(State& state, Executor& executor, const proto::Draining& message, const proto::Now& now) {
  if (executor.state != ExecutorState::kConnected) return;
  executor.state = ExecutorState::kDraining;
  executor.dirty = true;
  note(state, false,
       "executor " + executor.id + " drains: " + proto::printable(message.reason, 200));
  unbind_all(state, executor, now);
}

void on(State& state, Executor& executor, const proto::TaskProgress& message, const proto::Now&) {
  on_task_progress(state, executor, message);
}

void on(State& state, Executor& executor, const proto::Output& message, const proto::Now&) {
  on_output(state, executor, message);
}

void on(State& state, Executor& executor, const proto::Bye& message, const proto::Now& now) {
  lose_executor(state, executor, ExecutorState::kLeft, proto::printable(message.reason, 200), now);
}

template <class Other>
void on(State& state, Executor& executor, const Other&, const proto::Now&) {
  state.totals.rejected["bad_request"]++;
  send_now(state, executor,
           proto::ErrorReply{
               0, Code::kBadRequest,
               std::string(proto::name_of(Other::kType)) + " is not a message an executor sends", 0,
               0, 0});
}

void ask_resync(State& state, const Peer& peer, const proto::Envelope& envelope, const char* why) {
  state.totals.rejected["resync"]++;
  state.actions.push_back(Send{Port::kExecutors, peer, {envelope.link, 0}, proto::Resync{why}});
}

}  // namespace

void on_executor_message(State& state, const Peer& peer, const proto::Envelope& envelope,
                         proto::Message message, const proto::Now& now) {
  if (auto hello = std::get_if<proto::ExecutorHello>(&message)) {
    return on_hello(state, peer, envelope, *hello, now);
  }
  Executor* executor = state.executor_at(peer);
  if (executor == nullptr) return ask_resync(state, peer, envelope, "unknown executor");
  switch (executor->link.receive(envelope)) {
    case proto::Link::Verdict::kDuplicate:
      return;
    case proto::Link::Verdict::kGap:
      return ask_resync(state, peer, envelope, "messages were lost");
    case proto::Link::Verdict::kForeign:
      return ask_resync(state, peer, envelope, "another link");
    case proto::Link::Verdict::kAccept:
      break;
  }
  executor->seen_ms = now.wall_ms();
  executor->gone = false;
  std::visit([&](auto& m) { on(state, *executor, std::move(m), now); }, message);
  // After it: what it says of its bindings decides how soon we must hear again.
  heard_from(*executor, now);
}

void on_executor_gone(State& state, const Peer& peer) {
  if (Executor* executor = state.executor_at(peer)) executor->gone = true;
}

void lose_executor(State& state, Executor& executor, ExecutorState into, const std::string& why,
                   const proto::Now& now) {
  note(state, into == ExecutorState::kLost,
       "executor " + executor.id + " " + std::string(proto::name_of(into)) + ": " + why);
  state.executor_peers.erase(executor.peer);
  executor.state = into;
  executor.dirty = true;
  for (auto& slot : executor.slots) {
    if (Session* session = state.session(slot.wanted)) session->slots_bound--;
  }
  state.slots_connected -= executor.slots.size();
  executor.slots = {};  // its row is kept for a day, its memory is not
  bool lost = into == ExecutorState::kLost;
  for (auto& [uid, share] : executor.shares) {
    Session* session = state.session(uid);
    auto hands = take_all_hands(share);
    if (session == nullptr) continue;
    std::erase(session->at, executor.id);
    if (hands.empty()) continue;
    requeue(state, *session, hands, lost ? Charge::kYes : Charge::kNo, Code::kTaskCrashed,
            "executor " + executor.id + " was lost: " + why, now);
  }
  executor.shares.clear();
  state.plan_due = true;
}

void tick_executors(State& state, const proto::Now& now, bool drained) {
  for (auto& [id, executor] : state.executors) {
    if (!executor.serves()) continue;
    if (drained && now.mono_us > executor.lease_until_us) {
      lose_executor(state, executor, ExecutorState::kLost,
                    "no beat for " + std::to_string(lease_us(executor) / proto::kUsPerMs) + " ms",
                    now);
      continue;
    }
    beat(state, executor, now);
    bool unheard = std::any_of(executor.slots.begin(), executor.slots.end(), [&](const Slot& slot) {
      return slot.bound_generation != slot.generation && now.mono_us > slot.told_us + kBeatUs;
    });
    if (unheard) send_bind(state, executor, now);
  }
}

void unbind_all(State& state, Executor& executor, const proto::Now& now) {
  for (auto& slot : executor.slots) {
    if (Session* session = state.session(slot.wanted)) {
      session->slots_bound--;
      note_slots(state, *session, executor, now);
    }
    if (slot.wanted != 0) release_share(executor, slot.wanted);
    slot.wanted = 0;
    slot.generation++;
  }
  send_bind(state, executor, now);
  state.plan_due = true;
}

void release_share(Executor& executor, proto::SessionUid uid) {
  auto share = executor.shares.find(uid);
  if (share == executor.shares.end()) return;
  if (share->second.slots_wanted > 0) share->second.slots_wanted--;
  share->second.slots_bound = std::min(share->second.slots_bound, share->second.slots_wanted);
  // The executor forgets the context with its last slot, and so do we; a share without hands ends.
  if (share->second.slots_wanted > 0) return;
  share->second.has_context = false;
  share->second.window_tasks = 0;
  drop_empty_share(executor, uid);
}

void note_slots(State&, Session& session, Executor& executor, const proto::Now&) {
  auto at = std::find(session.at.begin(), session.at.end(), executor.id);
  if (at == session.at.end()) session.at.push_back(executor.id);
}

void send_bind(State& state, Executor& executor, const proto::Now& now) {
  executor.bind_due = false;
  proto::Bind bind;
  for (size_t i = 0; i < executor.slots.size(); i++) {
    Slot& slot = executor.slots[i];
    if (slot.bound_generation == slot.generation) continue;
    slot.told_us = now.mono_us;
    bind.bindings.push_back({i, slot.generation, slot.wanted});
  }
  if (bind.bindings.empty()) return;
  expects_answer(executor, now);
  send_now(state, executor, std::move(bind));
}

proto::Value row_of(const State& state, const Executor& executor) {
  uint64_t bound = 0;
  proto::Map sessions;
  for (const auto& [uid, share] : executor.shares) {
    auto session = state.sessions.find(uid);
    if (share.slots_wanted == 0 || session == state.sessions.end()) continue;
    bound += share.slots_wanted;
    sessions.emplace_back(session->second->name, share.slots_wanted);
  }
  return proto::Map{{"id", executor.id},
                    {"state", std::string(proto::name_of(executor.state))},
                    {"address", executor.address},
                    {"slots", executor.slots.size()},
                    {"bound", bound},
                    {"tasks", executor.tasks()},
                    {"application", executor.only_application},
                    {"idle", executor.idle_ms},
                    {"sessions", sessions},
                    {"hold", std::string(proto::name_of(executor.hold))},
                    {"provider", executor.provider},
                    {"instance", executor.instance},
                    {"version", executor.version},
                    {"connected", executor.connected_ms},
                    {"seen", executor.seen_ms}};
}

}  // namespace flame::broker

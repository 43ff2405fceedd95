// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/durability.hpp"

#include <algorithm>

#include "broker/core/delivery.hpp"

namespace flame::broker {

using proto::Code;
using proto::Durability;
using proto::Error;

namespace {

constexpr Durability level_of(size_t at) {
  return at == 0 ? Durability::kSynced : Durability::kReplicated;
}

// Of a session that asks for more than `stored`, else null.
LevelQueue* queue_of(State& state, Durability level) {
  if (level == Durability::kSynced) return &state.levels[0];
  if (level == Durability::kReplicated) return &state.levels[1];
  return nullptr;
}
const LevelQueue* queue_of(const State& state, Durability level) {
  return queue_of(const_cast<State&>(state), level);
}

std::string wait_text(Durability level, const std::string& reason) {
  return "acknowledgements and results wait to be " + std::string(proto::name_of(level)) + ": " +
         reason;
}

// Acknowledgements of submits have a bound of their own.
bool is_request(const Send& send) {
  return !std::holds_alternative<proto::SubmitAck>(send.message);
}

void release(State& state, LevelQueue& queue) {
  while (!queue.groups.empty() && queue.groups.begin()->first <= queue.reached) {
    auto group = queue.groups.extract(queue.groups.begin());
    for (const auto& send : group.mapped().sends) {
      auto client = state.clients.find(send.peer);
      if (client != state.clients.end() && is_request(send)) client->second.requests_waiting--;
    }
    leave(state, group.mapped().sends);
    for (const auto& [uid, done_end] : group.mapped().done) {
      if (Session* session = state.session(uid)) may_deliver(state, *session, done_end);
    }
  }
}

}  // namespace

Durability level_reached(const State& state, const Session& session) {
  bool no_more =
      session.spec.durability == Durability::kStored && state.health.abilities.is_volatile;
  return no_more ? Durability::kMemory : session.spec.durability;
}

proto::Status check_level(const State& state, Durability level) {
  const StoreAbilities& store = state.health.abilities;
  if (level == Durability::kSynced && !store.can_sync) {
    return Error{Code::kUnsupported,
                 "durability synced needs a Redis with an append-only file and appendfsync always, "
                 "or version 7.2; flmctl up --appendfsync always starts one"};
  }
  uint64_t wanted = state.config.replicas;
  if (level == Durability::kReplicated && store.replicas < wanted) {
    return Error{Code::kUnsupported,
                 "durability replicated needs " + std::to_string(wanted) +
                     " connected replicas of Redis and there are " +
                     std::to_string(store.replicas) +
                     "; start them (redis-server --replicaof HOST PORT), or the broker with a "
                     "smaller --replicas"};
  }
  return {};
}

std::string late_reason(const State& state, Durability level) {
  const LevelQueue* queue = queue_of(state, level);
  if (queue == nullptr || queue->late.empty() || queue->groups.empty()) return "";
  return wait_text(level, queue->late);
}

uint64_t waiting_for(const State& state, Durability level) {
  uint64_t sum = 0;
  for (const auto& [batch, group] : queue_of(state, level)->groups) {
    sum += group.sends.size();
  }
  return sum;
}

void send_acknowledgement(State& state, Durability level, const Peer& peer,
                          proto::Message message) {
  LevelQueue* queue = queue_of(state, level);
  auto client = state.clients.find(peer);
  // With a broken lineage only questions are answered, from what there is.
  if (queue == nullptr || client == state.clients.end() || state.waits_for_recover) {
    return send_after(state, Port::kClients, peer, std::move(message));
  }
  Send send{Port::kClients, peer, {client->second.link.id(), 0}, std::move(message)};
  client->second.requests_waiting += is_request(send) ? 1 : 0;
  queue->groups[state.last_batch + 1].sends.push_back(std::move(send));
}

void forget_levels(State& state) {
  state.levels = {};
  for (auto& [peer, client] : state.clients) client.requests_waiting = 0;
}

void forget_waiting(State& state, const Peer& peer) {
  for (auto& queue : state.levels) {
    for (auto& [batch, group] : queue.groups) {
      std::erase_if(group.sends, [&](const Send& send) { return send.peer == peer; });
    }
  }
}

void hold_done(State& state, const Session& session) {
  LevelQueue* queue = queue_of(state, session.spec.durability);
  auto& done = queue == nullptr ? state.done_filling : queue->groups[state.last_batch + 1].done;
  done.emplace_back(session.uid, session.done_end);
}

void may_deliver(State& state, Session& session, uint64_t done_end) {
  // Redis refused a part of what it rests on, and nobody knows which of its results are complete.
  if (session.state == proto::SessionState::kSuspended) return;
  session.done_confirmed = std::max(session.done_confirmed, done_end);
  deliver(state, session);
}

void hold_recovered(State& state, Session& session) {
  LevelQueue* queue = queue_of(state, session.spec.durability);
  if (queue == nullptr) return;
  session.done_confirmed = session.done_first;
  queue->groups[state.last_batch].done.emplace_back(session.uid, session.done_end);
}

void rest_on_last_batch(State& state) {
  for (auto& queue : state.levels) {
    auto filled = queue.groups.extract(state.last_batch + 1);
    if (filled.empty()) continue;
    LevelQueue::Group& from = filled.mapped();
    LevelQueue::Group& to = queue.groups[state.last_batch];
    std::move(from.sends.begin(), from.sends.end(), std::back_inserter(to.sends));
    to.done.insert(to.done.end(), from.done.begin(), from.done.end());
  }
  ask_durable(state, state.last_batch);
}

void ask_durable(State& state, uint64_t stored) {
  for (size_t i = 0; i < state.levels.size(); i++) {
    LevelQueue& queue = state.levels[i];
    auto after = queue.groups.upper_bound(stored);
    if (after == queue.groups.begin()) continue;
    uint64_t wanted = std::prev(after)->first;
    if (wanted > std::max(queue.asked, queue.reached)) {
      queue.asked = wanted;
      state.actions.push_back(AwaitDurable{level_of(i), wanted});
    }
    release(state, queue);
  }
}

void on_durable(State& state, const Durable& durable) {
  LevelQueue* queue = queue_of(state, durable.level);
  queue->reached = std::max(queue->reached, durable.batch);
  if (!std::exchange(queue->late, "").empty()) {
    note(state, false,
         "durability " + std::string(proto::name_of(durable.level)) + " is reached again");
  }
  release(state, *queue);
}

void on_durable_late(State& state, DurableLate late) {
  LevelQueue* queue = queue_of(state, late.level);
  if (queue->late.empty()) note(state, true, wait_text(late.level, late.reason));
  queue->late = std::move(late.reason);
}

void on_store_away(State& state) {
  for (auto& queue : state.levels) queue.reached = queue.asked = 0;
}

}  // namespace flame::broker

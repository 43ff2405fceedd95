// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/state.hpp"

namespace flame::broker {

namespace {
/// Below it an answer costs no more than its message.
constexpr uint64_t kLargeAnswerBytes = 4096;
}  // namespace

void send_now(State& state, Client& client, proto::Message message) {
  auto envelope = client.link.next();
  uint64_t bytes = std::visit(
      [](const auto& m) -> uint64_t {
        // Results have a window of their own.
        if constexpr (requires {
                        m.payload;
                        m.request;
                      })
          return m.payload.size();
        return 0;
      },
      message);
  if (bytes >= kLargeAnswerBytes) {
    client.unread.emplace_back(envelope.sequence, bytes);
    client.unread_bytes += bytes;
  }
  state.actions.push_back(Send{Port::kClients, client.peer, envelope, std::move(message)});
}

void send_now(State& state, Executor& executor, proto::Message message) {
  state.actions.push_back(
      Send{Port::kExecutors, executor.peer, executor.link.next(), std::move(message)});
}

namespace {

proto::Link* link_of(State& state, Port port, const Peer& peer) {
  if (port == Port::kExecutors) {
    Executor* executor = state.executor_at(peer);
    return executor == nullptr ? nullptr : &executor->link;
  }
  auto client = state.clients.find(peer);
  return client == state.clients.end() ? nullptr : &client->second.link;
}

// A result of an earlier attempt may have come while the batch of a dispatch was on its way, or its
// session was deleted: then nobody waits for it any more.
bool still_wanted(State& state, const Send& send) {
  auto dispatch = std::get_if<proto::Dispatch>(&send.message);
  if (dispatch == nullptr) return true;
  Executor* executor = state.executor_at(send.peer);
  auto share = executor->shares.find(dispatch->uid);
  if (share == executor->shares.end()) return false;
  const proto::Run& run = dispatch->ticket.run;
  auto hand = share->second.hands.lower_bound(run.first);
  return hand != share->second.hands.end() && hand->second.run.first < run.end();
}

}  // namespace

void send_after(State& state, Port port, const Peer& peer, proto::Message message) {
  proto::Link* link = link_of(state, port, peer);
  if (link == nullptr) return;
  state.after.push_back(Send{port, peer, {link->id(), 0}, std::move(message)});
}

void leave(State& state, std::vector<Send>& sends) {
  for (auto& send : sends) {
    // What was meant for an earlier link is void: the hello of the new one stated absolutes, and
    // what it did not list went back to the queue.
    proto::Link* link = link_of(state, send.port, send.peer);
    if (link == nullptr || link->id() != send.envelope.link) continue;
    if (!still_wanted(state, send)) continue;
    send.envelope = link->next();
    state.actions.push_back(std::move(send));
  }
  sends.clear();
}

void send_durable(State& state, const Session& session, Port port, const Peer& peer,
                  proto::Message message) {
  if (session.spec.durability != proto::Durability::kMemory) {
    if (port == Port::kExecutors) return send_after(state, port, peer, std::move(message));
    return send_acknowledgement(state, session.spec.durability, peer, std::move(message));
  }
  proto::Link* link = link_of(state, port, peer);
  if (link != nullptr) state.actions.push_back(Send{port, peer, link->next(), std::move(message)});
}

void refuse(State& state, Client& client, uint64_t request, const proto::Error& error) {
  state.totals.rejected[std::string(proto::name_of(error.code))]++;
  send_now(state, client,
           proto::ErrorReply{request, error.code, error.message, error.retry_after_ms, 0, 0});
}

void touch(State& state, Session& session) {
  session.dirty = true;
  state.touched.insert(session.uid);
  state.to_plan.emplace(session.uid, &session);
}

void set_letters(Session& session, const proto::Run& run, proto::TaskState letter) {
  // Its result may be out before Redis has it: nobody hears afterwards that it runs.
  if (letter != proto::TaskState::kRunning && !session.progress_due.empty()) {
    auto& due = session.progress_due;
    due.erase(due.lower_bound(run.first), due.lower_bound(run.end()));
  }
  auto& letters = session.letters;
  if (letter == proto::TaskState::kRunning && !letters.empty()) {
    // A fresh run that is dispatched in the batch that stores it: its P was never anywhere.
    for (auto& [earlier, state] : letters) {
      if (state != proto::TaskState::kPending || earlier.first != run.first ||
          earlier.count < run.count) {
        continue;
      }
      earlier.first += run.count;
      earlier.count -= run.count;
      break;
    }
  }
  if (!letters.empty()) {
    auto& [last, state] = letters.back();
    bool joins =
        last.end() == run.first && proto::segment_of(last.first) == proto::segment_of(run.first);
    if (state == letter && last.count > 0 && joins) {
      last.count += run.count;
      return;
    }
  }
  letters.emplace_back(run, letter);
}

void add_event(State& state, Session& session, const proto::Now& now, std::string code,
               std::string text) {
  state.ops.push_back(PutEvent{session.name, now.wall_ms(), std::move(code), std::move(text)});
  touch(state, session);
}

const proto::Application* application_of(const State& state, const Session& session) {
  auto found = state.applications.find(session.spec.application);
  return found == state.applications.end() ? nullptr : &found->second;
}

void note(State& state, bool warning, std::string text) {
  state.actions.push_back(Note{warning, std::move(text)});
}

void make_room(State& state) { state.actions.push_back(MakeRoom{state.last_batch + 1}); }

uint64_t next_random(State& state) {
  uint64_t z = (state.random += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/clients.hpp"

#include <algorithm>

#include "broker/core/applications.hpp"
#include "broker/core/beats.hpp"
#include "broker/core/cancel.hpp"
#include "broker/core/contexts.hpp"
#include "broker/core/delivery.hpp"
#include "broker/core/durability.hpp"
#include "broker/core/holds.hpp"
#include "broker/core/lifecycle.hpp"
#include "broker/core/logs.hpp"
#include "broker/core/task_questions.hpp"
#include "broker/core/task_watches.hpp"
#include "proto/elements.hpp"
#include "proto/text.hpp"

namespace flame::broker {

using proto::Code;
using proto::Error;
using proto::Run;
using proto::SessionState;

Error lost_lineage(const State& state) {
  return {
      Code::kLostLineage,
      state.not_serving_because +
          "; nothing is taken until somebody decides: flmctl recover --accept-loss goes on with "
          "what Redis has",
      1000};
}

namespace {

constexpr int64_t kClientLeaseUs = int64_t{proto::kClientLeaseMs} * proto::kUsPerMs;
constexpr uint32_t kHelloRetryMs = 100;

// What a request that changes something gets while the broker cannot record it.
proto::Status can_record(const State& state) {
  if (state.waits_for_recover) return lost_lineage(state);
  if (!state.serving) return Error{Code::kRecovering, state.not_serving_because, 200};
  if (!state.health.writable) {
    Error error = state.health.error;
    if (error.code == Code::kOk) error = {Code::kStoreDown, "Redis does not answer", 0};
    // Whatever is wrong with the store (it may evict, say), the request is right: it is kept.
    if (proto::row_of(error.code).retry == proto::Retry::kNo) error.code = Code::kStoreRefused;
    if (error.retry_after_ms == 0) error.retry_after_ms = 500;
    return error;
  }
  return {};
}

// The store still writes, and nearly has no room for more.
Error busy(const State& state) {
  Error error = state.health.error;
  error.code = Code::kBusy;
  error.retry_after_ms = std::max(100u, error.retry_after_ms);
  return error;
}

// The answers to what this client asked wait for a level: more of them than it has use for would
// fill the broker.
proto::Status has_room(const Client& client) {
  uint64_t waiting = client.requests_waiting;
  if (waiting < proto::kRequestsWaitingMax) return {};
  return Error{Code::kBusy,
               std::to_string(waiting) +
                   " requests of this client wait for their answers already (requests_waiting_max)",
               1000};
}

void on_hello(State& state, const Peer& peer, const proto::Envelope& envelope,
              const proto::ClientHello& hello, const proto::Now& now) {
  auto answer = [&](Code code, std::string text) {
    state.totals.rejected[std::string(proto::name_of(code))]++;
    state.actions.push_back(Send{Port::kClients,
                                 peer,
                                 {envelope.link, 1},
                                 proto::ErrorReply{0, code, std::move(text), kHelloRetryMs, 0, 0}});
  };
  // Before the state is read there is no lineage to greet with, and every session would be "not
  // found".
  if (state.lineage.empty()) {
    const std::string& trouble = state.health.error.message;
    return answer(Code::kRecovering, trouble.empty() ? state.not_serving_because : trouble);
  }
  if (!hello.cluster.empty() && hello.cluster != state.config.cluster) {
    return answer(Code::kCluster, "this broker serves cluster '" + state.config.cluster +
                                      "', not '" + proto::printable(hello.cluster, 60) + "'");
  }
  if (auto name = proto::check_name("client", hello.client); !name) {
    return answer(name.error().code, name.error().message);
  }
  // Every hello proposes a link of its own: this one came twice.
  auto known = state.clients.find(peer);
  if (known != state.clients.end() && known->second.link.id() == envelope.link) return;
  on_client_gone(state, peer);  // an earlier link of the same connection: its subscriptions end
  Client& client = state.clients[peer];
  client.peer = peer;
  client.id = hello.client;
  client.link = proto::Link(envelope.link);
  (void)client.link.receive(envelope);
  client.lease_until_us = now.mono_us + kClientLeaseUs;
  client.beat_due_us = now.mono_us + kBeatUs;
  proto::Welcome welcome;
  welcome.version = state.config.version;
  welcome.cluster = state.config.cluster;
  welcome.epoch = state.epoch;
  welcome.lineage = state.lineage;
  welcome.serving = state.serving && !state.waits_for_recover;
  send_now(state, client, std::move(welcome));
}

// ---- submit
// ---------------------------------------------------------------------------------------------

void refuse_submit(State& state, Client& client, const proto::Submit& message, const Error& error,
                   uint64_t number) {
  state.totals.rejected[std::string(proto::name_of(error.code))]++;
  send_now(
      state, client,
      proto::ErrorReply{0, error.code, error.message, error.retry_after_ms, message.uid, number});
}

Error check_submit(const Session& session, const proto::Submit& message) {
  if (!session.takes_tasks()) {
    return {Code::kWrongState,
            "session '" + session.name + "' is " + std::string(proto::name_of(session.state)) +
                " and takes no tasks" + (session.reason.empty() ? "" : ": " + session.reason)};
  }
  if (message.count == 0) return {Code::kBadRequest, "a submit without tasks"};
  bool large = message.payload.size() > proto::kRunBytesMax;
  if (message.count > proto::kRunTasksMax || (large && message.count > 1)) {
    return {Code::kTooLarge, "a run has at most " + std::to_string(proto::kRunTasksMax) +
                                 " tasks and " + std::to_string(proto::kRunBytesMax) +
                                 " bytes; cut it"};
  }
  if (!proto::is_elements(message.payload.view(), message.count)) {
    return {Code::kBadFrame, "the payload is not " + std::to_string(message.count) + " elements"};
  }
  if (large && proto::largest_element(message.payload.view(), 1) > proto::kPayloadBytesMax) {
    return {Code::kTooLarge,
            "an input has at most " + std::to_string(proto::kPayloadBytesMax) + " bytes"};
  }
  return {};
}

void add_fresh(Session& session, const Run& run, proto::Bytes payload, const proto::Submit& message,
               const proto::Now& now) {
  FreshRun* last = session.fresh.empty() ? nullptr : &session.fresh.back();
  bool joins = last != nullptr && last->run.end() == run.first &&
               proto::segment_of(last->run.first) == proto::segment_of(run.first) &&
               last->run.count + run.count <= proto::kRunTasksMax &&
               last->bytes + payload.size() <= proto::kRunBytesMax;
  if (!joins) {
    last = &session.fresh.emplace_back();
    last->run = {run.first, 0};
    last->sent_us = static_cast<int64_t>(message.sent_us);
    last->received_us = now.wall_us;
  }
  last->run.count += run.count;
  last->bytes += payload.size();
  last->pieces.push_back(std::move(payload));
}

// The ids follow all earlier ones; a run that would cross a segment is cut there.
Run accept_tasks(State& state, Session& session, const proto::Submit& message,
                 const proto::Now& now) {
  Run run{session.counters.tasks + 1, message.count};
  session.counters.tasks += run.count;
  session.counters.pending += run.count;
  state.totals.submitted += run.count;
  state.submits_filling.tasks += run.count;
  state.submits_filling.bytes += message.payload.size();
  proto::TaskId cut = proto::segment_end(run.first);
  if (run.end() <= cut) {
    add_fresh(session, run, message.payload, message, now);
    return run;
  }
  uint64_t head = cut - run.first;
  size_t at = *proto::skip_elements(message.payload.view(), head);
  add_fresh(session, {run.first, head}, message.payload.slice(0, at), message, now);
  add_fresh(session, {cut, run.count - head},
            message.payload.slice(at, message.payload.size() - at), message, now);
  return run;
}

// Judges the number: true if the submit is the next one. Everything else is answered here.
bool is_next(State& state, Client& client, Session& session, const proto::Submit& message) {
  auto found = session.submits.find(client.id);
  uint64_t last = found == session.submits.end() ? 0 : found->second.last();
  if (message.number == last + 1) return true;
  if (message.number > last + 1) {
    bool forgotten = found == session.submits.end() && session.counters.tasks > 0;
    Code code = forgotten ? Code::kForgotten : Code::kGap;
    Error error{code, code == Code::kGap
                          ? "submit " + std::to_string(last + 1) + " is missing"
                          : "this client's earlier submits are forgotten; use a new client"};
    refuse_submit(state, client, message, error, last + 1);
    return false;
  }
  for (const auto& record : found->second.history.last) {
    if (record.number != message.number) continue;
    if (record.refused == Code::kOk) {
      state.acks[{client.peer, session.uid}].push_back({record.number, record.run});
    } else {
      refuse_submit(state, client, message, {record.refused, "this submit was refused before"},
                    record.number);
    }
    return false;
  }
  refuse_submit(
      state, client, message,
      {Code::kForgotten, "this submit was answered so long ago that the answer is forgotten"},
      message.number);
  return false;
}

void remember(Session& session, const Client& client, proto::SubmitRecord record) {
  Submits& submits = session.submits[client.id];
  submits.history.last.push_back(record);
  if (submits.history.last.size() > proto::kSubmitsUnackedMax) {
    submits.history.last.erase(submits.history.last.begin());
  }
  submits.dirty = true;
}

void on(State& state, Client& client, const proto::Submit& message, const proto::Now& now) {
  // Before session and number are judged: what they are compared with may lack what was confirmed.
  if (!state.serving) {
    return refuse_submit(state, client, message, can_record(state).error(), message.number);
  }
  Session* session = state.session(message.uid);
  if (session == nullptr) {
    return refuse_submit(state, client, message,
                         {Code::kGone, "the session does not exist any more"}, message.number);
  }
  if (!is_next(state, client, *session, message)) return;
  // Refused for now: what follows its first submit is a gap, not a client that was forgotten.
  auto known = [&] { session->submits.try_emplace(client.id).first->second.used(now); };
  if (auto status = can_record(state); !status) {
    known();
    return refuse_submit(state, client, message, status.error(), message.number);
  }
  if (state.health.busy) {
    known();
    return refuse_submit(state, client, message, busy(state), message.number);
  }
  Error refused = check_submit(*session, message);
  Run run;
  if (refused.code == Code::kOk) {
    run = accept_tasks(state, *session, message, now);
    state.acks[{client.peer, session->uid}].push_back({message.number, run});
  } else {
    refuse_submit(state, client, message, refused, message.number);
  }
  remember(*session, client, {message.number, run, refused.code});
  touch(state, *session);
}

// ---- sessions
// -------------------------------------------------------------------------------------------

void answer_later(State& state, Client& client, const Session& session, uint64_t request) {
  send_acknowledgement(state, session.spec.durability, client.peer,
                       info_of(state, session, request, client.id));
}

void on(State& state, Client& client, const proto::CreateSession& message, const proto::Now& now) {
  if (auto status = may_add(state, client); !status) {
    return refuse(state, client, message.request, status.error());
  }
  auto session = create_session(state, client, message, now);
  if (!session) return refuse(state, client, message.request, session.error());
  answer_later(state, client, **session, message.request);
}

void on(State& state, Client& client, const proto::OpenSession& message, const proto::Now&) {
  auto session = find_session(state, message.session);
  if (!session) return refuse(state, client, message.request, session.error());
  // A question: it acknowledges nothing, so it does not wait for a level above `stored`.
  send_after(state, Port::kClients, client.peer,
             info_of(state, **session, message.request, client.id));
}

void on(State& state, Client& client, const proto::CloseSession& message, const proto::Now& now) {
  auto session = find_session(state, message.session);
  if (!session) return refuse(state, client, message.request, session.error());
  if (auto status = may_free(state, client); !status) {
    return refuse(state, client, message.request, status.error());
  }
  close_session(state, **session, now);
  answer_later(state, client, **session, message.request);
}

void on(State& state, Client& client, const proto::CancelTasks& message, const proto::Now& now) {
  auto session = find_session(state, message.session);
  if (!session) return refuse(state, client, message.request, session.error());
  if (auto status = may_free(state, client); !status) {
    return refuse(state, client, message.request, status.error());
  }
  on_cancel_tasks(state, client, **session, message, now);
}

void on(State& state, Client& client, const proto::DeleteSession& message, const proto::Now&) {
  auto session = find_session(state, message.session);
  if (!session) return refuse(state, client, message.request, session.error());
  if (auto status = may_free(state, client); !status) {
    return refuse(state, client, message.request, status.error());
  }
  if ((*session)->state != SessionState::kClosed && !message.force) {
    return refuse(state, client, message.request,
                  {Code::kWrongState, "session '" + (*session)->name + "' is " +
                                          std::string(proto::name_of((*session)->state)) +
                                          "; close it first, or use --force"});
  }
  std::string text = "Session <" + (*session)->name + "> was deleted.";
  proto::Durability level = (*session)->spec.durability;
  delete_session(state, **session);
  send_acknowledgement(state, level, client.peer, proto::Ok{message.request, text});
}

// A wait that its client has given up looks like any other, so the oldest goes; one that somebody
// does wait for is asked again.
void drop_oldest_wait(State& state, Client& client, std::vector<WaitingRequest>& waiting) {
  if (waiting.size() < proto::kRequestsWaitingMax) return;
  auto own = [&](const WaitingRequest& w) { return w.peer == client.peer; };
  auto count = std::count_if(waiting.begin(), waiting.end(), own);
  if (static_cast<uint64_t>(count) < proto::kRequestsWaitingMax) return;
  auto oldest = std::find_if(waiting.begin(), waiting.end(), own);
  refuse(state, client, oldest->request,
         {Code::kBusy,
          std::to_string(count) +
              " later requests of this client wait for the session (requests_waiting_max)",
          1000});
  waiting.erase(oldest);
}

void on(State& state, Client& client, const proto::WaitSession& message, const proto::Now&) {
  auto session = find_session(state, message.session);
  if (!session) return refuse(state, client, message.request, session.error());
  if (auto status = has_room(client); !status) {
    return refuse(state, client, message.request, status.error());
  }
  bool done = message.closed ? (*session)->finished() : (*session)->counters.unfinished() == 0;
  if (done) return answer_later(state, client, **session, message.request);
  drop_oldest_wait(state, client, (*session)->waiting);
  (*session)->waiting.push_back({client.peer, message.request, message.closed});
}

void on(State& state, Client& client, const proto::Watch& message, const proto::Now& now) {
  on_watch(state, client, message, now);
}
void on(State& state, Client& client, const proto::ResultsAck& message, const proto::Now& now) {
  on_results_ack(state, client, message, now);
}
// Answers that may be large go to those who read them.
bool is_reading(State& state, Client& client, uint64_t request) {
  if (client.unread_bytes < proto::kUnreadAnswerBytesMax) return true;
  refuse(state, client, request,
         {Code::kBusy,
          "answers of " + std::to_string(client.unread_bytes) +
              " bytes were not read by this client yet (unread_answer_bytes_max)",
          1000});
  return false;
}

void on(State& state, Client& client, const proto::ListKind& message, const proto::Now&) {
  if (!is_reading(state, client, message.request)) return;
  on_list(state, client, message);
}
void on(State& state, Client& client, const proto::GetTasks& message, const proto::Now&) {
  if (!is_reading(state, client, message.request)) return;
  on_get_tasks(state, client, message);
}
void on(State& state, Client& client, const proto::View& message, const proto::Now&) {
  if (!is_reading(state, client, message.request)) return;
  on_view(state, client, message);
}
void on(State& state, Client& client, const proto::WatchTask& message, const proto::Now&) {
  if (!is_reading(state, client, message.request)) return;
  on_watch_task(state, client, message);
}
void on(State& state, Client& client, const proto::UpdateCommon& message, const proto::Now& now) {
  on_update_common(state, client, message, now);
}
void on(State& state, Client& client, const proto::GetCommon& message, const proto::Now&) {
  if (!is_reading(state, client, message.request)) return;
  on_get_common(state, client, message);
}
void on(State& state, Client& client, const proto::GetLogs& message, const proto::Now& now) {
  if (!is_reading(state, client, message.request)) return;
  on_get_logs(state, client, message, now);
}

void on(State& state, Client& client, const proto::HoldExecutor& message, const proto::Now& now) {
  if (auto status = may_ask(state, client); !status) {
    return refuse(state, client, message.request, status.error());
  }
  on_hold_executor(state, client, message, now);
}
void on(State& state, Client& client, const proto::PickVictims& message, const proto::Now& now) {
  if (!is_reading(state, client, message.request)) return;
  if (auto status = may_ask(state, client); !status) {
    return refuse(state, client, message.request, status.error());
  }
  on_pick_victims(state, client, message, now);
}

template <class Change>
void change_application(State& state, Client& client, uint64_t request, const proto::Status& may,
                        std::string text, Change change) {
  if (!may) return refuse(state, client, request, may.error());
  if (auto status = change(); !status) return refuse(state, client, request, status.error());
  send_after(state, Port::kClients, client.peer, proto::Ok{request, std::move(text)});
}

void on(State& state, Client& client, const proto::RegisterApplication& message,
        const proto::Now&) {
  change_application(state, client, message.request, may_add(state, client), "registered",
                     [&] { return register_application(state, message.application); });
}
void on(State& state, Client& client, const proto::UpdateApplication& message, const proto::Now&) {
  change_application(state, client, message.request, may_add(state, client), "updated",
                     [&] { return update_application(state, message.name, message.changes); });
}
void on(State& state, Client& client, const proto::UnregisterApplication& message,
        const proto::Now&) {
  change_application(state, client, message.request, may_free(state, client), "unregistered",
                     [&] { return unregister_application(state, message.name); });
}

void on(State& state, Client& client, const proto::Recover& message, const proto::Now&) {
  if (!state.waits_for_recover) {
    // Accepted a moment ago, or still starting: what is missing is not known yet.
    if (!state.serving) {
      return refuse(state, client, message.request,
                    {Code::kRecovering, state.not_serving_because, 200});
    }
    return send_now(state, client,
                    proto::Ok{message.request, "nothing to recover from: nothing is missing"});
  }
  if (!message.accept_loss) {
    return refuse(state, client, message.request, lost_lineage(state));
  }
  state.actions.push_back(AcceptLoss{});
  state.waits_for_recover = false;  // decided; /readyz must not ask for it again
  state.not_serving_because = "the loss was accepted; the state is being read again";
  send_now(state, client,
           proto::Ok{message.request, "going on with what Redis has, under a new lineage"});
}

void on(State&, Client& client, const proto::Beat& beat, const proto::Now&) {
  while (!client.unread.empty() && client.unread.front().first <= beat.heard) {
    client.unread_bytes -= client.unread.front().second;
    client.unread.pop_front();
  }
}
void on(State& state, Client& client, const proto::Bye&, const proto::Now&) {
  Peer peer = client.peer;
  on_client_gone(state, peer);
}

template <class Other>
void on(State& state, Client& client, const Other&, const proto::Now&) {
  refuse(state, client, 0,
         {Code::kBadRequest,
          std::string(proto::name_of(Other::kType)) + " is not a message a client sends"});
}

void ask_resync(State& state, const Peer& peer, const proto::Envelope& envelope, const char* why) {
  state.totals.rejected["resync"]++;
  state.actions.push_back(Send{Port::kClients, peer, {envelope.link, 0}, proto::Resync{why}});
}

}  // namespace

proto::Status may_ask(const State& state, const Client& client) {
  auto room = has_room(client);
  return room ? can_record(state) : room;
}

proto::Status may_add(const State& state, const Client& client) {
  auto status = may_ask(state, client);
  return !status || !state.health.busy ? status : busy(state);
}

proto::Status may_free(const State& state, const Client& client) {
  auto room = has_room(client);
  bool full = state.serving && !state.waits_for_recover && state.health.full;
  return !room || full ? room : can_record(state);
}

void on_client_message(State& state, const Peer& peer, const proto::Envelope& envelope,
                       proto::Message message, const proto::Now& now) {
  if (auto hello = std::get_if<proto::ClientHello>(&message)) {
    return on_hello(state, peer, envelope, *hello, now);
  }
  auto client = state.clients.find(peer);
  if (client == state.clients.end()) return ask_resync(state, peer, envelope, "unknown client");
  switch (client->second.link.receive(envelope)) {
    case proto::Link::Verdict::kDuplicate:
      return;
    case proto::Link::Verdict::kGap:
      return ask_resync(state, peer, envelope, "messages were lost");
    case proto::Link::Verdict::kForeign:
      return ask_resync(state, peer, envelope, "another link");
    case proto::Link::Verdict::kAccept:
      break;
  }
  client->second.lease_until_us = now.mono_us + kClientLeaseUs;
  std::visit([&](auto& m) { on(state, client->second, m, now); }, message);
}

void on_client_gone(State& state, const Peer& peer) {
  if (state.clients.erase(peer) == 0) return;
  forget_waiting(state, peer);
  for (auto& [uid, session] : state.sessions) {
    session->watchers.erase(peer);
    forget_task_watches(state, *session, peer);
    std::erase_if(session->waiting, [&](const WaitingRequest& w) { return w.peer == peer; });
  }
  std::erase_if(state.acks, [&](const auto& entry) { return entry.first.first == peer; });
}

void tell_trouble(State& state) {
  auto status = can_record(state);
  if (status || !state.serving) return;
  const Error& error = status.error();
  for (auto& [peer, client] : state.clients) {
    send_now(state, client,
             proto::ErrorReply{0, error.code, error.message, error.retry_after_ms, 0, 0});
  }
}

void tick_clients(State& state, const proto::Now& now, bool drained) {
  std::vector<Peer> silent;
  for (auto& [peer, client] : state.clients) {
    if (drained && now.mono_us > client.lease_until_us) {
      silent.push_back(peer);
    } else if (now.mono_us >= client.beat_due_us) {
      client.beat_due_us = now.mono_us + kBeatUs;
      send_now(state, client, proto::Beat{state.health.writable ? 1u : 0u, 0});
    }
  }
  for (const auto& peer : silent) on_client_gone(state, peer);
}

}  // namespace flame::broker

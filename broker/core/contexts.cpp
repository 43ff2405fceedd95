// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/contexts.hpp"

#include <algorithm>

#include "broker/core/clients.hpp"
#include "proto/codec.hpp"
#include "proto/crc32c.hpp"

namespace flame::broker {

using proto::Code;
using proto::Error;

namespace {

// Another one where anything of the context is another, also after a restart of the broker: so
// nothing has to be stored but the count of the common data.
uint64_t version_of(const Session& session, const proto::Application& application) {
  return session.common_version << 32 |
         proto::crc32c(proto::encode_value(proto::to_value(application)));
}

void read_common(State& state, Session& session, State::PendingRead asked) {
  uint64_t tag = state.next_tag++;
  state.reads[tag] = std::move(asked);
  state.actions.push_back(StoreRead{ReadCommon{tag, session.name}});
}

bool needs_read(const Session& session) { return !session.common && session.has_common; }

proto::SessionContext context_of(const Session& session, const proto::Application& application) {
  return {session.uid,
          session.name,
          proto::to_value(application),
          session.owner,
          version_of(session, application),
          session.common.value_or(proto::Bytes())};
}

// The executors that have a slot of it.
template <class Use>
void at_each(State& state, Session& session, Use use) {
  for (const auto& id : session.at) {
    auto executor = state.executors.find(id);
    if (executor == state.executors.end() || !executor->second.serves()) continue;
    auto share = executor->second.shares.find(session.uid);
    if (share != executor->second.shares.end() && share->second.slots_wanted > 0)
      use(executor->second, share->second);
  }
}

}  // namespace

bool offer_context(State& state, Executor& executor, Session& session) {
  Share& share = executor.shares[session.uid];
  if (share.slots_wanted > 0 && share.has_context) return true;
  if (needs_read(session)) {
    if (!session.common_reading) read_common(state, session, {session.uid, {}, 0, {}});
    session.common_reading = true;
    return false;
  }
  auto application = application_of(state, session);
  if (application == nullptr) return false;
  share.has_context = true;
  send_now(state, executor, context_of(session, *application));
  return true;
}

void adopt_contexts(State& state, Executor& executor, const std::vector<proto::HeldContext>& held) {
  for (auto& [uid, share] : executor.shares) {
    Session* session = state.session(uid);
    auto application = session == nullptr ? nullptr : application_of(state, *session);
    share.has_context =
        application != nullptr &&
        std::find(held.begin(), held.end(),
                  proto::HeldContext{uid, version_of(*session, *application)}) != held.end();
    if (share.slots_wanted > 0 && !share.has_context && session != nullptr)
      offer_context(state, executor, *session);
  }
}

void renew_context(State& state, Session& session) {
  session.start_after_us = 0;  // perhaps it starts now
  session.start_backoff.reset();
  state.plan_due = true;
  auto application = application_of(state, session);
  bool can_send = application != nullptr && !needs_read(session);
  proto::SessionContext context;
  if (can_send) context = context_of(session, *application);
  at_each(state, session, [&](Executor& executor, Share& share) {
    if (!share.has_context) return;
    share.has_context = can_send;
    if (!can_send) {
      offer_context(state, executor, session);
    } else {
      send_durable(state, session, Port::kExecutors, executor.peer, context);
    }
  });
}

void offer_missing_contexts(State& state, Session& session) {
  at_each(state, session, [&](Executor& executor, const Share& share) {
    if (!share.has_context) offer_context(state, executor, session);
  });
}

void on_common_read(State& state, CommonRead read) {
  auto asked = state.reads.extract(read.tag);
  if (asked.empty()) return;
  const auto& to = asked.mapped();
  Session* session = state.session(to.uid);
  if (to.request != 0) {
    auto client = state.clients.find(to.peer);
    if (client == state.clients.end()) return;
    if (read.error.code != Code::kOk) return refuse(state, client->second, to.request, read.error);
    if (session == nullptr)
      return refuse(state, client->second, to.request, {Code::kGone, "the session was deleted"});
    return send_now(state, client->second,
                    proto::CommonData{to.request, session->common_version, std::move(read.value)});
  }
  if (session == nullptr) return;
  session->common_reading = false;
  if (read.error.code != Code::kOk) return;  // asked again within a second
  // An update that came meanwhile is newer than what was read.
  if (!session->common) session->common = std::move(read.value);
  offer_missing_contexts(state, *session);
  state.ready.insert(session->uid);
  state.plan_due = true;
}

void on_update_common(State& state, Client& client, const proto::UpdateCommon& message,
                      const proto::Now& now) {
  auto found = find_session(state, message.session);
  if (!found) return refuse(state, client, message.request, found.error());
  if (auto status = may_add(state, client); !status)
    return refuse(state, client, message.request, status.error());
  Session& session = **found;
  if (!session.takes_tasks()) {
    return refuse(state, client, message.request,
                  {Code::kWrongState, "session '" + session.name + "' is " +
                                          std::string(proto::name_of(session.state)) +
                                          ": its common data stays as it is"});
  }
  if (message.if_version != 0 && message.if_version != session.common_version) {
    return refuse(
        state, client, message.request,
        {Code::kConflict, "the common data is version " + std::to_string(session.common_version) +
                              " by now, not " + std::to_string(message.if_version) +
                              ": read it again and decide anew"});
  }
  if (message.payload.size() > proto::kCommonBytesMax)
    return refuse(state, client, message.request, common_too_large(message.payload.size()));
  session.common = message.payload;
  session.has_common = !message.payload.empty();
  session.common_version++;
  state.ops.push_back(PutCommon{session.name, message.payload});
  state.ops.push_back(PutFields{session.name,
                                {{"common", session.has_common ? "1" : "0"},
                                 {"common_version", std::to_string(session.common_version)}}});
  add_event(state, session, now, "updated",
            "common data, version " + std::to_string(session.common_version));
  renew_context(state, session);
  send_durable(state, session, Port::kClients, client.peer,
               proto::CommonData{message.request, session.common_version, {}});
}

void on_get_common(State& state, Client& client, const proto::GetCommon& message) {
  auto found = find_session(state, message.session);
  if (!found) return refuse(state, client, message.request, found.error());
  Session& session = **found;
  if (session.results_dropped && session.has_common) {
    return refuse(state, client, message.request,
                  {Code::kTrimmed, "the common data of session '" + session.name +
                                       "' was dropped, as its retention says"});
  }
  if (needs_read(session))
    return read_common(state, session, {session.uid, client.peer, message.request, {}});
  send_now(state, client,
           proto::CommonData{message.request, session.common_version,
                             session.common.value_or(proto::Bytes())});
}

Error common_too_large(uint64_t bytes) {
  return {Code::kTooLarge, "common data has " + std::to_string(bytes) + " bytes; at most " +
                               std::to_string(proto::kCommonBytesMax)};
}

}  // namespace flame::broker

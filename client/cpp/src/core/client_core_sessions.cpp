// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// The part of ClientCore about attached sessions: submits, watches, and what a new link or a new
// lineage means for them.

#include "client/cpp/src/core/client_core.hpp"

namespace flame::client {

using proto::Code;
using proto::Error;

void ClientCore::handle(const Attach& event) {
  auto [at, fresh] = sessions_.try_emplace(event.info.uid, event.info);
  // Answered on a link that has broken since: look again on the next one.
  if (fresh && !up()) at->second.synced = false;
}

void ClientCore::handle(const Detach& event) {
  auto session = find(event.uid);
  if (session == nullptr) return;
  if (up() && session->results.anything_to_ack()) {
    send(proto::ResultsAck{event.uid, session->results.take_ack()});
  }
  requests_.answer(session->open_request);
  requests_.answer(session->watch_request);
  waiting_.goes_on(WaitingReasons::kSubmits);
  sessions_.erase(event.uid);
}

void ClientCore::handle(const SubmitRun& event) {
  if (auto session = find(event.uid)) {
    session->submits.add(event);
    return;
  }
  actions_->push_back(SubmitFailed{
      event.uid, event.ticket, {Code::kGone, "the session is not open in this client"}});
}

void ClientCore::handle(const WatchFrom& event) {
  auto session = find(event.uid);
  if (session == nullptr) return;
  session->results.start(event, lineage_);
  if (session->synced) watch(event.uid, *session);
}

void ClientCore::handle(const Consumed& event) {
  if (auto session = find(event.uid)) session->results.consume(event.index, now_);
}

void ClientCore::watch(proto::SessionUid uid, Session& session) {
  requests_.answer(session.watch_request);
  proto::Watch message{0, uid, session.results.next()};
  message.reader = session.results.reader();
  message.lineage = session.results.lineage();
  ask(message, session.watch_request);
}

void ClientCore::open_again(Session& session) {
  ask(proto::OpenSession{0, session.name}, session.open_request);
}

void ClientCore::receive(proto::SessionInfo& info) {
  for (auto& [uid, session] : sessions_) {
    if (session.open_request != info.request) continue;
    requests_.answer(info.request);
    session.open_request = 0;
    if (info.uid == uid) return session_opened(uid, session, info);
    return session_gone(
        uid, session,
        {Code::kGone, "session '" + session.name + "' was deleted; another one has its name now"});
  }
  pass_on(info);
}

void ClientCore::session_opened(proto::SessionUid uid, Session& session,
                                const proto::SessionInfo& info) {
  session.synced = true;
  if (serving_) compare(uid, session, info);
  // Ahead of one that waits for a person: it says Resync when it serves again.
  bool ahead = session.results.next() > info.done_end;
  if (session.results.watching() && !ahead) watch(uid, session);
  actions_->push_back(Changed{{uid, info.state, info.counters, info.done_end, ""}});
}

// What the broker has with what this client knows.
void ClientCore::compare(proto::SessionUid uid, Session& session, const proto::SessionInfo& info) {
  for (const auto& run : session.submits.resume(info.last_submit)) {
    actions_->push_back(Lost{uid, run});
  }
  if (!session.results.watching()) return;
  // Ahead of the broker: results of a `memory` session ended with the broker that had them.
  bool ahead = session.results.next() > info.done_end;
  if (ahead || session.results.lineage() != lineage_) {
    session.results.rebase(lineage_, info.done_end);
  }
}

void ClientCore::session_gone(proto::SessionUid uid, Session& session, const Error& error) {
  waiting_.goes_on(WaitingReasons::kSubmits);
  for (Ticket ticket : session.submits.take_all()) {
    actions_->push_back(SubmitFailed{uid, ticket, error});
  }
  if (session.results.watching()) actions_->push_back(WatchFailed{uid, error});
  sessions_.erase(uid);
}

void ClientCore::receive(const proto::SubmitAck& ack) {
  auto session = find(ack.uid);
  if (session == nullptr) return;
  waiting_.goes_on(WaitingReasons::kSubmits);
  for (const auto& item : ack.items) {
    if (auto ticket = session->submits.acknowledge(item)) {
      actions_->push_back(Submitted{ack.uid, *ticket, item.run, ack.level});
    }
  }
}

void ClientCore::refuse_submit(const proto::ErrorReply& reply) {
  auto session = find(reply.uid);
  if (session == nullptr) return;
  Error error{reply.code, reply.message, reply.retry_after_ms};
  auto refused = session->submits.refuse(reply, now_);
  if (refused.kind == SubmitWindow::Refusal::kRetry && reply.code != Code::kGap) {
    waiting_.held_up(WaitingReasons::kSubmits, error, now_.mono_us);
  } else if (refused.kind == SubmitWindow::Refusal::kFinal) {
    waiting_.goes_on(WaitingReasons::kSubmits);
    actions_->push_back(SubmitFailed{reply.uid, refused.ticket, error});
  } else if (refused.kind == SubmitWindow::Refusal::kUnknown && session->open_request == 0) {
    session->synced = false;
    session->submits.link_lost();
    open_again(*session);
  }
}

void ClientCore::receive(proto::Results& results) {
  auto session = find(results.uid);
  if (session == nullptr || session->watch_request != 0) return;  // of the watch before
  switch (session->results.receive(results)) {
    case ResultCursor::Verdict::kAccept:
      actions_->push_back(Deliver{std::move(results)});
      return;
    case ResultCursor::Verdict::kGap:
      return watch(results.uid, *session);
    case ResultCursor::Verdict::kDuplicate:
      return;
  }
}

void ClientCore::receive(proto::Watching& watching) {
  auto session = find(watching.uid);
  if (session == nullptr || session->watch_request != watching.request) return;
  requests_.answer(watching.request);
  session->watch_request = 0;
  uint64_t asked = session->results.next();
  if (watching.index != asked) session->results.move(watching.index);
  if (watching.index > asked) actions_->push_back(Trimmed{watching.uid, asked, watching.index});
}

void ClientCore::receive(const proto::SessionChanged& change) {
  auto session = find(change.uid);
  if (session == nullptr) return;
  actions_->push_back(Changed{change});
  // No result comes any more, and whoever waits for one must not wait for ever.
  if (change.state == proto::SessionState::kDeleting) {
    session_gone(change.uid, *session,
                 {Code::kGone, "session '" + session->name + "' was deleted"});
  }
}

}  // namespace flame::client

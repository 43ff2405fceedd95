// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/unit/client/fake_broker.hpp"

#include <poll.h>

#include "proto/rows.hpp"
#include "runtime/assert.hpp"
#include "runtime/clock.hpp"

namespace flame::test {

using proto::Code;

FakeBroker::FakeBroker(const std::string& endpoint)
    : socket_(std::make_unique<runtime::Socket>(context_, runtime::Socket::Kind::kRouter)) {
  auto bound = socket_->bind(endpoint);
  FLAME_ASSERT(bound.has_value());
  endpoint_ = socket_->endpoint();
  thread_ = std::thread([this] { run(); });
}

FakeBroker::~FakeBroker() {
  stopping_ = true;
  thread_.join();
}

void FakeBroker::run() {
  runtime::Received received;
  while (!stopping_) {
    pollfd fd{socket_->fd(), POLLIN, 0};
    if (!socket_->readable()) poll(&fd, 1, 10);
    if (forget_links.exchange(false)) peers_.clear();
    if (forget_sessions.exchange(false)) {
      peers_.clear();
      sessions_.clear();
    }
    while (socket_->receive(received)) {
      if (drop_incoming > 0) {
        drop_incoming--;
        continue;
      }
      auto decoded = proto::decode(received.header, received.payload);
      if (decoded) handle(received.peer, *decoded);
    }
    for (auto& [id, peer] : peers_) push_results(id, peer);
  }
}

void FakeBroker::handle(const std::string& from, proto::Decoded& decoded) {
  if (auto hello = std::get_if<proto::ClientHello>(&decoded.message)) {
    Peer& peer = peers_[from] = Peer{proto::Link(decoded.envelope.link), hello->client, {}};
    if (peer.link.receive(decoded.envelope) != proto::Link::Verdict::kAccept) return;
    proto::Welcome welcome;
    welcome.lineage = "lineage";
    welcome.beat_ms = 50;
    return reply(from, welcome);
  }
  auto peer = peers_.find(from);
  if (peer == peers_.end() ||
      peer->second.link.receive(decoded.envelope) == proto::Link::Verdict::kGap) {
    peers_.erase(from);
    auto header = proto::encode({decoded.envelope.link, 0}, proto::Resync{"unknown link or gap"});
    socket_->send(from, header, nullptr);
    return;
  }
  std::visit([&](auto& message) { on(from, peer->second, message); }, decoded.message);
}

void FakeBroker::reply(const std::string& to, const proto::Message& message) {
  auto envelope = peers_[to].link.next();
  if (drop_outgoing > 0) {
    drop_outgoing--;
    return;
  }
  socket_->send(to, proto::encode(envelope, message), proto::payload_of(message));
}

FakeBroker::Session* FakeBroker::find(const std::string& name) {
  for (auto& [uid, session] : sessions_) {
    if (session.info.session == name) return &session;
  }
  return nullptr;
}

void FakeBroker::on(const std::string& from, Peer&, proto::CreateSession& create) {
  if (auto session = find(create.session); session != nullptr) {
    if (!create.open_or_create) {
      return reply(from, proto::ErrorReply{create.request, Code::kAlreadyExists, "taken"});
    }
    session->info.request = create.request;
    return reply(from, session->info);
  }
  proto::SessionUid uid = sessions_.size() + 1;
  Session& session = sessions_[uid];
  session.info.request = create.request;
  session.info.session = create.session;
  session.info.uid = uid;
  session.info.spec = create.spec;
  reply(from, session.info);
}

void FakeBroker::on(const std::string& from, Peer& peer, proto::OpenSession& open) {
  auto session = find(open.session);
  if (session == nullptr) {
    return reply(from, proto::ErrorReply{open.request, Code::kNotFound, "no such session"});
  }
  session->info.request = open.request;
  session->info.last_submit = session->accepted[peer.client].size();
  session->info.done_end = session->done.size();
  reply(from, session->info);
}

void FakeBroker::on(const std::string& from, Peer& peer, proto::Submit& submit) {
  auto found = sessions_.find(submit.uid);
  if (found == sessions_.end()) {
    return reply(from, proto::ErrorReply{0, Code::kGone, "gone", 0, submit.uid, submit.number});
  }
  Session& session = found->second;
  auto& accepted = session.accepted[peer.client];
  if (submit.number <= accepted.size()) {
    return reply(from, proto::SubmitAck{
                           submit.uid, proto::Durability::kStored, {accepted[submit.number - 1]}});
  }
  if (session.info.state != proto::SessionState::kOpen) {
    return reply(from,
                 proto::ErrorReply{0, Code::kWrongState, "closed", 0, submit.uid, submit.number});
  }
  if (submit.number != accepted.size() + 1) {
    return reply(from, proto::ErrorReply{0, Code::kGap, "gap", 0, submit.uid, accepted.size() + 1});
  }
  if (busy_submits > 0) {
    busy_submits--;
    return reply(from, proto::ErrorReply{0, Code::kBusy, "busy", 5, submit.uid, submit.number});
  }
  submits++;
  proto::Run run{session.info.counters.tasks + 1, submit.count};
  session.info.counters.tasks += submit.count;
  accepted.push_back({submit.number, run});
  reply(from, proto::SubmitAck{submit.uid, proto::Durability::kStored, {accepted.back()}});
  proto::Results results{submit.uid, session.done.size(), run, "fake", 1};
  if (submit.sent_us != 0) {
    auto now = static_cast<uint64_t>(runtime::read_clock().wall_us);
    results.stamps = {submit.sent_us, now, now, now, now, now, now, now};
  }
  if (fail_tasks) {
    for (uint64_t id = run.first; id < run.end(); id++) {
      results.exceptions.push_back({id, Code::kTaskFailed, "exit code 1\nboom"});
    }
    results.payload = proto::Bytes::own(std::string(run.count * 2, '\0'));
    std::string empty;
    for (uint64_t i = 0; i < run.count; i++) empty += std::string("\xc4\0", 2);
    results.payload = proto::Bytes::own(std::move(empty));
    session.info.counters.failed += run.count;
  } else {
    results.payload = submit.payload;
    session.info.counters.succeed += run.count;
  }
  session.done.push_back(std::move(results));
}

void FakeBroker::on(const std::string& from, Peer& peer, proto::Watch& watch) {
  if (watch.lineage != "lineage") {
    return reply(from, proto::ErrorReply{watch.request, Code::kLostLineage, "another lineage"});
  }
  peer.watched[watch.uid] = watch.index;
  reply(from,
        proto::Watching{watch.request, watch.uid, watch.index, sessions_[watch.uid].done.size()});
}

void FakeBroker::push_results(const std::string& to, Peer& peer) {
  for (auto& [uid, index] : peer.watched) {
    auto& done = sessions_[uid].done;
    while (index < done.size()) reply(to, done[index++]);
  }
}

void FakeBroker::on(const std::string& from, Peer&, proto::CloseSession& close) {
  auto session = find(close.session);
  if (session == nullptr) {
    return reply(from, proto::ErrorReply{close.request, Code::kNotFound, "no such session"});
  }
  session->info.state = proto::SessionState::kClosed;
  session->info.request = close.request;
  reply(from, session->info);
}

void FakeBroker::on(const std::string& from, Peer&, proto::WaitSession& wait) {
  auto session = find(wait.session);
  if (session == nullptr) {
    return reply(from, proto::ErrorReply{wait.request, Code::kNotFound, "no such session"});
  }
  session->info.request = wait.request;
  reply(from, session->info);
}

void FakeBroker::on(const std::string& from, Peer&, proto::ListKind& list) {
  proto::List rows;
  if (list.kind == "executor") {
    rows.push_back(proto::Map{{"id", "fake-1"}, {"state", "connected"}, {"slots", 2}});
  }
  for (const auto& [uid, session] : sessions_) {
    if (list.kind != "session") break;
    rows.push_back(proto::Map{{"id", session.info.session},
                              {"state", std::string(proto::name_of(session.info.state))},
                              {"application", session.info.spec.application},
                              {"tasks", session.info.counters.tasks}});
  }
  reply(from, proto::Listing{list.request, false, proto::encode_rows(rows)});
}

}  // namespace flame::test

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/cpp/src/core/client_core.hpp"

#include <algorithm>

#include "proto/text.hpp"

namespace flame::client {

using proto::Code;
using proto::Error;

namespace {
constexpr int64_t kHelloWaitFirstUs = 1'000;
constexpr int64_t kHelloWaitMostUs = 200'000;
constexpr int64_t kHelloAnswerUs = 2 * proto::kUsPerSecond;
// A link that lasted this long was a good one: the next hello is not held back.
constexpr int64_t kSteadyUs = 2 * proto::kUsPerSecond;
constexpr uint32_t kHellosPerSocket = 3;
}  // namespace

ClientCore::ClientCore(ClientConfig config)
    : config_(std::move(config)), next_link_(std::max<uint32_t>(1, config_.first_link)) {}

void ClientCore::on(Event event, proto::Now now, Actions& actions) {
  now_ = now;
  actions_ = &actions;
  std::visit([this](auto& e) { handle(e); }, event);
  flush();
  say_why_it_waits();
  actions_ = nullptr;
}

bool ClientCore::has_room(proto::SessionUid uid) const {
  auto found = sessions_.find(uid);
  return found != sessions_.end() && found->second.submits.has_room();
}

ClientCore::Session* ClientCore::find(proto::SessionUid uid) {
  auto found = sessions_.find(uid);
  return found == sessions_.end() ? nullptr : &found->second;
}

int64_t ClientCore::next_deadline() const {
  if (phase_ == Phase::kRejected || phase_ == Phase::kLeft) return kNever;
  int64_t at = std::min(requests_.deadline(up()), waiting_.deadline());
  if (!up()) return std::min(at, hello_at_us_);
  at = std::min({at, beat_at_us_, heard_at_us_ + lease_us_});
  for (const auto& [uid, session] : sessions_) {
    at = std::min({at, session.submits.deadline(), session.results.deadline()});
  }
  return at;
}

// ---- the link
// -------------------------------------------------------------------------------------------

void ClientCore::handle(const Tick&) {
  if (phase_ == Phase::kUp && now_.mono_us >= heard_at_us_ + lease_us_) {
    drop_link("the broker was silent for " + std::to_string(lease_us_ / proto::kUsPerSecond) + " s",
              true);
  }
}

// Whatever an event made possible, and whatever is due by time.
void ClientCore::flush() {
  if (phase_ == Phase::kRejected || phase_ == Phase::kLeft) return;
  answer_all(requests_.expire(now_, up() ? Error{} : not_connected()));
  if (phase_ != Phase::kUp) {
    if (now_.mono_us >= hello_at_us_) say_hello();
    return;
  }
  for (auto& message : requests_.due(now_)) send(std::move(message));
  for (auto& [uid, session] : sessions_) {
    if (!session.synced) continue;
    for (auto& submit : session.submits.due(now_)) send(std::move(submit));
    if (session.results.ack_due(now_)) send(proto::ResultsAck{uid, session.results.take_ack()});
  }
  if (now_.mono_us >= beat_at_us_) {
    beat_at_us_ = now_.mono_us + beat_us_;
    send(proto::Beat{0, 0, link_.received()});
  }
}

void ClientCore::say_why_it_waits() {
  if (phase_ == Phase::kRejected || phase_ == Phase::kLeft) return;
  if (!up()) waiting_.held_up(WaitingReasons::kLink, not_connected(), now_.mono_us);
  while (auto reason = waiting_.due(now_.mono_us)) actions_->push_back(Waiting{*reason});
}

void ClientCore::say_hello() {
  if (!socket_open_ || hellos_unanswered_ >= kHellosPerSocket) {
    actions_->push_back(OpenSocket{});
    socket_open_ = true;
    hellos_unanswered_ = 0;
  }
  phase_ = Phase::kGreeting;
  hello_at_us_ = now_.mono_us + kHelloAnswerUs;
  hellos_unanswered_++;
  link_ = proto::Link(next_link_++);
  if (next_link_ == 0) next_link_ = 1;
  send(proto::ClientHello{proto::kProtocolMinor, config_.cluster, config_.client, lineage_,
                          config_.version});
}

void ClientCore::handle(const SendFailed&) {
  if (phase_ == Phase::kUp) return drop_link("the connection to the broker is closed", false);
  if (phase_ != Phase::kGreeting) return;
  phase_ = Phase::kConnecting;
  hellos_unanswered_ = 0;  // it did not even leave; libzmq is connecting
  not_yet_ = {};
  hello_wait_us_ = std::clamp(hello_wait_us_ * 2, kHelloWaitFirstUs, kHelloWaitMostUs);
  hello_at_us_ = now_.mono_us + hello_wait_us_;
}

void ClientCore::drop_link(const std::string& reason, bool new_socket) {
  if (phase_ == Phase::kUp) actions_->push_back(LinkDown{reason});
  bool steady = phase_ == Phase::kUp && now_.mono_us - up_since_us_ >= kSteadyUs;
  phase_ = Phase::kConnecting;
  link_ = proto::Link();
  if (new_socket) socket_open_ = false;
  hello_wait_us_ = steady ? 0 : std::clamp(hello_wait_us_ * 2, kHelloWaitFirstUs, kHelloWaitMostUs);
  hello_at_us_ = now_.mono_us + hello_wait_us_;
  for (auto& [uid, session] : sessions_) {
    session.synced = false;
    requests_.answer(session.open_request);
    requests_.answer(session.watch_request);
    session.open_request = session.watch_request = 0;
    session.submits.link_lost();
  }
  answer_all(requests_.link_lost());
  waiting_.goes_on(WaitingReasons::kRequests);  // the link is what they wait for now
  waiting_.goes_on(WaitingReasons::kSubmits);
}

void ClientCore::send(proto::Message message) {
  actions_->push_back(Send{link_.next(), std::move(message)});
}

void ClientCore::handle(Received& event) {
  auto& [envelope, message] = event.decoded;
  if (envelope.link != link_.id() || link_.id() == 0) return;  // of an older link
  // Resync and refusals of a hello come from a broker that does not know the link, so it cannot
  // number them.
  if (auto resync = std::get_if<proto::Resync>(&message)) return receive(*resync);
  heard_at_us_ = now_.mono_us;
  if (auto error = std::get_if<proto::ErrorReply>(&message); error && phase_ == Phase::kGreeting) {
    return receive(*error);
  }
  switch (link_.receive(envelope)) {
    case proto::Link::Verdict::kAccept:
      break;
    case proto::Link::Verdict::kGap:
      return drop_link("messages from the broker were lost", false);
    default:
      return;
  }
  std::visit([this](auto& m) { receive(m); }, message);
}

void ClientCore::receive(const proto::Resync& resync) { drop_link(resync.reason, false); }

void ClientCore::receive(const proto::Bye& bye) {
  drop_link("the broker left: " + bye.reason, false);
}

void ClientCore::receive(const proto::Welcome& welcome) {
  if (phase_ != Phase::kGreeting) return;
  if (!newest_epoch_.accept(welcome.lineage, welcome.epoch)) {
    return drop_link("a broker that was replaced answered (epoch " +
                         proto::printable(welcome.epoch, 60) + "); looking for its successor",
                     true);
  }
  phase_ = Phase::kUp;
  waiting_.goes_on(WaitingReasons::kLink);
  not_yet_ = {};
  hellos_unanswered_ = 0;
  up_since_us_ = heard_at_us_ = now_.mono_us;
  beat_us_ = int64_t(std::max<uint64_t>(welcome.beat_ms, 10)) * proto::kUsPerMs;
  lease_us_ = std::max(int64_t(welcome.lease_ms) * proto::kUsPerMs, 3 * beat_us_);
  beat_at_us_ = now_.mono_us + beat_us_;
  lineage_ = welcome.lineage;
  serving_ = welcome.serving;
  actions_->push_back(LinkUp{welcome});
  for (auto& [uid, session] : sessions_) open_again(session);
}

void ClientCore::handle(const Leave&) {
  if (up()) {
    for (auto& [uid, session] : sessions_) {
      if (session.results.anything_to_ack()) {
        send(proto::ResultsAck{uid, session.results.take_ack()});
      }
    }
    send(proto::Bye{"done"});
  }
  phase_ = Phase::kLeft;
  answer_all(requests_.fail_all({Code::kInterrupted, "the client was closed"}));
}

Error ClientCore::not_connected() const {
  if (not_yet_.code != Code::kOk) {
    return {not_yet_.code,
            "The broker at " + config_.endpoint + " does not serve yet: " + not_yet_.message};
  }
  return {Code::kNoBroker, "No broker at " + config_.endpoint + ". Start one: flmctl up"};
}

// ---- requests
// -------------------------------------------------------------------------------------------

void ClientCore::handle(const Request& event) {
  if (phase_ == Phase::kRejected || phase_ == Phase::kLeft) {
    answer_all({{event.ticket, phase_ == Phase::kRejected ? rejection_ : not_connected()}});
    return;
  }
  requests_.add(event, now_);
}

void ClientCore::ask(const proto::Message& message, RequestTable::Id& id_out) {
  id_out = requests_.add(Request{0, message, kNever, true, false}, now_);
}

void ClientCore::answer(RequestTable::Id id, proto::Result<proto::Message> result) {
  waiting_.goes_on(WaitingReasons::kRequests);
  auto ticket = requests_.answer(id);
  if (ticket && *ticket != 0) actions_->push_back(Answer{*ticket, std::move(result)});
}

void ClientCore::answer_all(const RequestTable::Failed& failed) {
  if (!failed.empty()) waiting_.goes_on(WaitingReasons::kRequests);
  for (const auto& [ticket, error] : failed) {
    if (ticket != 0) actions_->push_back(Answer{ticket, error});
  }
}

void ClientCore::receive(proto::ErrorReply& reply) {
  Error error{reply.code, reply.message, reply.retry_after_ms};
  if (phase_ == Phase::kGreeting) {
    if (proto::row_of(reply.code).retry != proto::Retry::kNo) {
      // Not yet: hello again after a while.
      int64_t wait_us = int64_t{reply.retry_after_ms} * proto::kUsPerMs;
      drop_link(reply.message, false);
      not_yet_ = error;
      hellos_unanswered_ = 0;
      hello_at_us_ = std::max(hello_at_us_, now_.mono_us + wait_us);
      return;
    }
    phase_ = Phase::kRejected;
    rejection_ = error;
    answer_all(requests_.fail_all(error));
    actions_->push_back(Rejected{error});
    return;
  }
  if (reply.submit != 0) return refuse_submit(reply);
  if (reply.request == 0) {
    if (reply.code == Code::kResync) return drop_link(reply.message, false);
    bool passes = proto::row_of(reply.code).retry != proto::Retry::kNo;
    if (passes && requests_.held_up(error))
      waiting_.held_up(WaitingReasons::kRequests, error, now_.mono_us);
    return;
  }
  if (requests_.retry_later(reply, now_)) {
    return waiting_.held_up(WaitingReasons::kRequests, error, now_.mono_us);
  }
  if (refuse_own(reply)) return;
  answer(reply.request, error);
}

void ClientCore::receive(const proto::Beat& beat) {
  if (beat.status == 1) (void)requests_.held_up({});
}

// An error to a request of the core's own.
bool ClientCore::refuse_own(const proto::ErrorReply& reply) {
  Error error{reply.code, reply.message, reply.retry_after_ms};
  for (auto& [uid, session] : sessions_) {
    if (session.open_request == reply.request) {
      requests_.answer(reply.request);
      session.open_request = 0;
      if (reply.code == Code::kNotFound || reply.code == Code::kGone)
        session_gone(uid, session, error);
      return true;
    }
    if (session.watch_request == reply.request) {
      requests_.answer(reply.request);
      session.watch_request = 0;
      session.results.stop();
      actions_->push_back(WatchFailed{uid, error});
      return true;
    }
  }
  return false;
}

}  // namespace flame::client

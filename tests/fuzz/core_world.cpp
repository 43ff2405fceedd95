// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/fuzz/core_world.hpp"

#include <algorithm>

#include "proto/codec.hpp"
#include "proto/elements.hpp"

namespace flame::fuzz {

using broker::Port;
using proto::Code;
using proto::name_of;

namespace {

proto::Bytes inputs(uint64_t count) {
  std::string payload;
  for (uint64_t i = 0; i < count; i++) proto::append_element(payload, std::string(i % 5, 'i'));
  return proto::Bytes::own(std::move(payload));
}

template <class M>
concept HasUid = requires(M& m) {
  m.uid;
};
template <class M>
concept HasTicket = requires(M& m) {
  m.ticket;
};

}  // namespace

CoreWorld::CoreWorld()
    : peers_{PeerState{"client-0", Port::kClients}, PeerState{"client-1", Port::kClients},
             PeerState{"executor-0", Port::kExecutors}, PeerState{"executor-1", Port::kExecutors}} {
  start_broker();
}

void CoreWorld::run(Input input) {
  constexpr int kStepsMax = 400;
  for (int i = 0; i < kStepsMax && !input.empty() && !stopped_; i++) step(input);
}

void CoreWorld::start_broker() {
  store_ = std::make_unique<broker::MemoryStore>(redis_, ring_);
  broker::CoreConfig config;
  config.cluster = "flame";
  config.version = "fuzz";
  config.input_memory_bytes = 512;  // so that inputs are read back
  config.seed = seed_++;
  core_ = std::make_unique<broker::Core>(std::move(config));
  store_->start(now_);
  turn();
}

void CoreWorld::step(Input& input) {
  switch (static_cast<Op>(input.byte() % static_cast<uint8_t>(Op::kEnd))) {
    case Op::kClientFrame:
      frame(input, Port::kClients);
      break;
    case Op::kExecutorFrame:
      frame(input, Port::kExecutors);
      break;
    case Op::kTime:
      time(input);
      break;
    case Op::kClientHello:
      client_hello(input);
      break;
    case Op::kExecutorHello:
      executor_hello(input);
      break;
    case Op::kCreate:
      create(input);
      break;
    case Op::kSubmit:
      submit(input);
      break;
    case Op::kBindings:
      bindings(input);
      break;
    case Op::kResults:
      results(input);
      break;
    case Op::kReturn:
      give_back(input);
      break;
    case Op::kRequest:
      request(input);
      break;
    case Op::kRedis:
      redis(input);
      break;
    case Op::kGone:
      gone(input);
      break;
    case Op::kCancel:
      cancel(input);
      break;
    case Op::kRestart:
      store_.reset();
      core_.reset();
      start_broker();
      break;
    case Op::kEnd:
      break;
  }
  turn();
}

// ---- what the peers do
// ----------------------------------------------------------------------------------

void CoreWorld::frame(Input& input, Port port) {
  uint8_t flags = input.byte();
  size_t header_size = input.word(), payload_size = input.word();
  std::string header = input.take(header_size);
  auto payload = proto::Bytes::own(input.take(payload_size));
  PeerState& peer = port == Port::kClients ? client(flags) : executor(flags);
  auto decoded = proto::decode(header, payload);
  if (!decoded) {
    core_->on(broker::BadFrame{port, peer.name, decoded.error()}, now_);
    return;
  }
  mend(peer, flags, decoded->envelope, decoded->message);
  core_->on(broker::PeerMessage{port, peer.name, decoded->envelope, std::move(decoded->message)},
            now_);
}

// Makes a message right where the flags say so: a fuzzer does not guess 64 bits.
void CoreWorld::mend(PeerState& peer, uint8_t flags, proto::Envelope& envelope,
                     proto::Message& message) {
  if ((flags & kRightLink) != 0) envelope = {peer.link, ++peer.sequence};
  std::visit(
      [&](auto& m) {
        using M = std::decay_t<decltype(m)>;
        if constexpr (HasUid<M>) {
          if ((flags & kRightUid) != 0) m.uid = uid(static_cast<uint8_t>(m.uid));
        }
        if constexpr (HasTicket<M>) {
          if ((flags & kRightTicket) != 0 && !peer.hand.empty())
            m.ticket = peer.hand.front().ticket;
        }
      },
      message);
}

void CoreWorld::time(Input& input) {
  int units = input.byte();
  // A broker that sleeps long adds its gap to every lease: only short turns let one end.
  constexpr int64_t kTurnUs = 400 * proto::kUsPerMs;
  bool turns = units == 0;
  for (int i = 0; i < (turns ? 12 : 1); i++) {
    int64_t us = turns          ? kTurnUs
                 : units == 255 ? 10 * proto::kUsPerSecond
                                : units * 20 * proto::kUsPerMs;
    now_.mono_us += us;
    now_.wall_us += us;
    turn();
  }
}

void CoreWorld::client_hello(Input& input) {
  PeerState& peer = client(input.byte());
  proto::ClientHello message;
  message.client = std::string(31, 'c') + peer.name.back();
  hello(peer, std::move(message));
}

void CoreWorld::executor_hello(Input& input) {
  uint8_t choice = input.byte();
  PeerState& peer = executor(choice);
  if ((choice & 0x80) != 0) {
    peer.nonce++;
    peer.wanted.clear();
    peer.hand.clear();
  }
  if ((choice & 0x40) != 0) peer.hand.clear();
  proto::ExecutorHello message;
  message.executor = peer.name;
  message.nonce = std::to_string(peer.nonce);
  message.slots = 2;
  message.bindings = peer.wanted;
  for (const auto& held : peer.hand) message.hand.push_back({held.uid, held.rest, held.ticket});
  hello(peer, std::move(message));
}

void CoreWorld::create(Input& input) {
  PeerState& peer = client(input.byte());
  uint8_t which = input.byte(), choices = input.byte();
  proto::CreateSession message;
  message.request = 1;
  message.session = (which & 0x80) != 0 ? "" : "session-" + std::to_string(which % 4);
  message.open_or_create = (choices & 1) != 0;
  message.spec.application = (choices & 2) != 0 ? "flmping" : "echo";
  message.spec.retention = (choices & 4) != 0 ? "read" : "ttl";
  message.spec.durability =
      (choices & 8) != 0 ? proto::Durability::kMemory : proto::Durability::kStored;
  message.spec.max_instances = choices >> 4 & 3;
  message.spec.min_instances = choices >> 6;
  if ((choices & 16) != 0) message.payload = proto::Bytes::copy("common data");
  say(peer, std::move(message));
}

void CoreWorld::submit(Input& input) {
  PeerState& peer = client(input.byte());
  proto::Submit message;
  message.uid = uid(input.byte());
  message.count = input.byte();
  message.number = ++peer.submits[message.uid];
  message.payload = inputs(message.count);
  say(peer, std::move(message));
}

void CoreWorld::bindings(Input& input) {
  PeerState& peer = executor(input.byte());
  uint64_t tasks = input.byte();
  proto::Window window;
  for (const auto& binding : peer.wanted) {
    say(peer, proto::Bound{binding, Code::kOk, ""});
    window.windows.push_back({binding.uid, tasks, 100'000});
  }
  say(peer, std::move(window));
}

void CoreWorld::results(Input& input) {
  PeerState& peer = executor(input.byte());
  uint8_t which = input.byte(), choice = input.byte();
  if (peer.hand.empty()) return;
  auto at = peer.hand.begin() + which % static_cast<long>(peer.hand.size());
  proto::Run& rest = at->rest;
  proto::TaskResults message;
  message.uid = at->uid;
  message.ticket = at->ticket;
  message.run = {rest.first, std::min<uint64_t>(rest.count, (choice & 0x7f) + 1)};
  message.times = {{message.run.count, 1, 2}};
  message.window_tasks = 8;
  message.window_bytes = 100'000;
  if ((choice & 0x80) != 0) message.exceptions = {{message.run.first, Code::kTaskFailed, "no"}};
  std::string payload;
  for (uint64_t i = 0; i < message.run.count; i++) {
    proto::append_element(payload, i == 0 && (choice & 0x80) != 0 ? "" : "out");
  }
  message.payload = proto::Bytes::own(std::move(payload));
  rest = {message.run.end(), rest.count - message.run.count};
  if (rest.empty()) peer.hand.erase(at);
  say(peer, std::move(message));
}

void CoreWorld::give_back(Input& input) {
  PeerState& peer = executor(input.byte());
  uint8_t which = input.byte(), code = input.byte();
  if (peer.hand.empty()) return;
  auto at = peer.hand.begin() + which % static_cast<long>(peer.hand.size());
  static constexpr std::array kCodes = {Code::kOk, Code::kTaskCrashed, Code::kTaskTimeout,
                                        Code::kTaskServiceFailed, Code::kTaskCancelled};
  proto::Returned message{at->uid, kCodes[code % kCodes.size()], "why", {}};
  message.runs.push_back({at->uid, at->rest, at->ticket});
  peer.hand.erase(at);
  say(peer, std::move(message));
}

void CoreWorld::cancel(Input& input) {
  PeerState& peer = client(input.byte());
  uint8_t which = input.byte(), first = input.byte(), count = input.byte();
  proto::CancelTasks message{11, "session-" + std::to_string(which % 4), {}, (first & 0x80) != 0};
  if (count != 0) message.runs = {{uint64_t{1} + (first & 0x7f), count}};
  say(peer, std::move(message));
}

void CoreWorld::request(Input& input) {
  PeerState& peer = client(input.byte());
  uint8_t which = input.byte();
  std::string session = "session-" + std::to_string(which % 4);
  uint8_t verb = input.byte();
  uint64_t index = verb / 10;
  switch (verb % 10) {
    case 0:
      return say(peer, proto::CloseSession{2, session});
    case 1:
      return say(peer, proto::DeleteSession{3, session, true});
    case 2:
      return say(peer, proto::DeleteSession{4, session, false});
    case 3:
      return say(peer, proto::WaitSession{5, session, (which & 16) != 0});
    case 4:
      if (index % 3 == 1) {
        return say(peer, proto::UpdateCommon{6, session, (which & 32) != 0 ? index : 0,
                                             proto::Bytes::copy("other")});
      }
      if (index % 3 == 2) return say(peer, proto::GetCommon{6, session});
      return say(peer, proto::OpenSession{6, session});
    case 5:
      return say(peer,
                 proto::Watch{7, uid(which), index, 64, (which & 32) != 0 ? "reader" : "", ""});
    case 6:
      return say(peer, proto::ResultsAck{uid(which), index});
    case 7:
      return say(peer, proto::ListKind{8, index % 2 == 0 ? "session" : "executor", true});
    case 8:
      if (index % 3 == 2) {
        return say(peer, proto::GetTasks{9, session, index, which, (which & 64) != 0 ? "SF" : "",
                                         (which & 32) != 0});
      }
      if (index % 3 == 1) {
        return say(peer, proto::WatchTask{9, session, which, (which & 32) != 0 ? "R.1.0" : "",
                                          (which & 64) != 0});
      }
      return say(peer, proto::View{9, "session", index % 2 == 0 ? "last" : session});
    default:
      if (index % 2 == 1) {
        return say(peer, proto::UpdateApplication{
                             10, "echo", proto::Map{{"max_attempts", uint64_t{1} + which % 5}}});
      }
      return say(peer, proto::UnregisterApplication{10, "echo"});
  }
}

// ---- what happens to them
// -------------------------------------------------------------------------------

void CoreWorld::redis(Input& input) {
  uint8_t what = input.byte();
  switch (what % 6) {
    case 0:
      return redis_.set_down(true);
    case 1:
      return redis_.set_down(false);
    case 2:
      return redis_.set_delay((what / 6) * 10 * proto::kUsPerMs);
    case 3:
      return redis_.refuse(proto::Error{Code::kBusy, "full", 100});
    case 4:
      return redis_.refuse(std::nullopt);
    default:
      return redis_.restart(what / 6 % 4);
  }
}

void CoreWorld::gone(Input& input) {
  PeerState& peer = peers_[input.byte() % peers_.size()];
  core_->on(broker::PeerGone{peer.port, peer.name}, now_);
}

// ---- plumbing
// -------------------------------------------------------------------------------------------

proto::SessionUid CoreWorld::uid(uint8_t choice) const {
  const auto& sessions = core_->state().sessions;
  if (sessions.empty()) return choice;
  return std::next(sessions.begin(), choice % static_cast<long>(sessions.size()))->first;
}

void CoreWorld::hello(PeerState& peer, proto::Message message) {
  peer.link++;
  peer.sequence = 0;
  say(peer, std::move(message));
}

void CoreWorld::say(PeerState& peer, proto::Message message) {
  if (peer.link == 0) return;
  if (talks_) std::fprintf(stderr, "%s: %s\n", peer.name.c_str(), name_of(type_of(message)).data());
  core_->on(
      broker::PeerMessage{peer.port, peer.name, {peer.link, ++peer.sequence}, std::move(message)},
      now_);
}

// As the shell does it, until nothing moves.
void CoreWorld::turn() {
  for (int i = 0; i < 8 && !stopped_; i++) {
    now_.mono_us += 50;
    now_.wall_us += 50;
    auto events = store_->poll(now_);
    for (auto& event : events) core_->on(std::move(event), now_);
    core_->tick(now_, true);
    auto batch = core_->close_batch(now_);
    bool moved = !events.empty() || batch;
    if (batch) store_->write(std::move(*batch), now_);
    auto actions = core_->take_actions();
    for (auto& action : actions) perform(action);
    auto wrong = core_->broken_invariant();
    promise(wrong.empty(), wrong);
    if (!moved && actions.empty()) return;
  }
}

void CoreWorld::perform(broker::Action& action) {
  if (auto send = std::get_if<broker::Send>(&action)) {
    receive(*send);
  } else if (auto read = std::get_if<broker::StoreRead>(&action)) {
    store_->read(std::move(*read), now_);
  } else if (auto wanted = std::get_if<broker::AwaitDurable>(&action)) {
    store_->await(*wanted, now_);
  } else if (auto room = std::get_if<broker::MakeRoom>(&action)) {
    store_->make_room(room->batch, now_);
  } else if (std::get_if<broker::AcceptLoss>(&action) != nullptr) {
    store_->accept_loss(now_);
  } else if (std::get_if<broker::Stop>(&action) != nullptr) {
    stopped_ = true;
  } else if (auto note = std::get_if<broker::Note>(&action); note != nullptr && talks_) {
    std::fprintf(stderr, "    note: %s\n", note->text.c_str());
  }
}

void CoreWorld::receive(const broker::Send& send) {
  const proto::Bytes* payload = proto::payload_of(send.message);
  auto header = proto::encode(send.envelope, send.message);
  auto decoded = proto::decode(header, payload != nullptr ? *payload : proto::Bytes());
  if (talks_) {
    std::fprintf(stderr, "    -> %s: %s\n", send.peer.c_str(),
                 name_of(type_of(send.message)).data());
    if (auto error = std::get_if<proto::ErrorReply>(&send.message)) {
      std::fprintf(stderr, "       %s\n", error->message.c_str());
    }
  }
  if (!decoded) promise(false, "what the broker sends decodes: " + decoded.error().message);
  auto peer = std::find_if(peers_.begin(), peers_.end(),
                           [&](const PeerState& p) { return p.name == send.peer; });
  if (peer == peers_.end() || send.port != Port::kExecutors) return;
  if (auto bind = std::get_if<proto::Bind>(&send.message)) {
    for (const auto& binding : bind->bindings) {
      std::erase_if(peer->wanted, [&](const auto& old) { return old.slot == binding.slot; });
      peer->wanted.push_back(binding);
    }
  } else if (auto dispatch = std::get_if<proto::Dispatch>(&send.message)) {
    promise(proto::is_elements(dispatch->payload.view(), dispatch->ticket.run.count),
            "a dispatched run has its inputs");
    if (peer->hand.size() < 64) {
      peer->hand.push_back({dispatch->uid, dispatch->ticket, dispatch->ticket.run});
    }
  }
}

}  // namespace flame::fuzz

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "executor/app.hpp"

#include <signal.h>

#include <map>

#include "proto/codec.hpp"
#include "runtime/log.hpp"

namespace flame::executor {

namespace {
/// Messages taken in one turn: the services must not wait for a flood of them.
constexpr int kMessagesPerTurn = 128;
}  // namespace

App::App(AppConfig config)
    : config_(std::move(config)),
      signals_(loop_, {SIGTERM, SIGINT, SIGUSR1}, [this](int signal) { on_signal(signal); }),
      core_(config_.core, loop_.now()),
      logs_(config_.core.id),
      http_(loop_),
      grpc_(shims::make_grpc_client(loop_)) {
  config_.place.guard = &guard_;
  config_.place.grpc = grpc_.get();
  config_.place.http = &http_;
}

App::~App() {
  shims_.clear();
  if (socket_) loop_.remove_socket(*socket_);
}

void App::on_signal(int signal) {
  if (signal == SIGUSR1) return feed(LeaveIfIdle{});
  feed(Terminate{});
}

proto::Status App::start() {
  loop_.on_turn([this] { turn(); });
  start_timer();
  return connect();
}

proto::Status App::connect() {
  if (socket_) loop_.remove_socket(*socket_);
  socket_.emplace(context_, runtime::Socket::Kind::kDealer);
  loop_.add_socket(*socket_, [this] { read_broker(); });
  return socket_->connect(config_.broker);
}

int App::run() {
  loop_.run();
  return exit_code_;
}

void App::read_broker() {
  runtime::Received received;
  for (int i = 0; i < kMessagesPerTurn && socket_->receive(received); i++) {
    auto decoded = received.frames > 2
                       ? proto::Error{proto::Code::kBadFrame, "a message has one or two frames"}
                       : proto::decode(received.header, received.payload);
    if (decoded) {
      feed(Received{decoded->envelope, std::move(decoded->message)});
    } else if (runtime::log::once_a_second("bad frame")) {
      // Dropped: the link's numbers will show that one is missing.
      runtime::log::warn("bad frame from the broker", {{"error", decoded.error().message}});
    }
  }
}

void App::feed(const Event& event) { core_.on(event, loop_.now(), actions_); }

void App::turn() {
  for (auto& event : std::exchange(events_, {})) {
    auto gone = std::holds_alternative<shims::Exited>(event.event) ? event.instance : 0;
    feed(std::move(event));
    if (gone != 0) forget(gone);
  }
  feed(TurnEnded{});
  perform();
  if (std::exchange(refused_, false)) feed(SendRefused{});
  // What was yielded at once (a process that could not start, a shell that enters) is handled in
  // the next turn.
  start_timer();
}

void App::start_timer() {
  int64_t at = events_.empty() ? core_.next_deadline_us() : loop_.now().mono_us;
  if (timer_ != 0 && at == timer_at_us_) return;
  if (timer_ != 0) loop_.cancel(timer_);
  timer_at_us_ = at;
  timer_ = loop_.call_at(at, [this] { timer_ = 0; });
}

void App::perform() {
  for (auto& action : std::exchange(actions_, {})) {
    if (auto send = std::get_if<Send>(&action)) {
      perform(*send);
    } else if (auto invoke = std::get_if<Invoke>(&action)) {
      if (auto to = shim(invoke->instance)) to->invoke(invoke->frames);
    } else if (auto start = std::get_if<Start>(&action)) {
      perform(*start);
    } else if (auto enter = std::get_if<Enter>(&action)) {
      if (auto to = shim(enter->instance)) to->enter(enter->session);
    } else if (auto cancel = std::get_if<Cancel>(&action)) {
      if (auto to = shim(cancel->instance)) to->cancel(cancel->run);
    } else if (auto leave = std::get_if<Leave>(&action)) {
      if (auto to = shim(leave->instance)) to->leave();
    } else if (auto stop = std::get_if<Stop>(&action)) {
      if (auto to = shim(stop->instance)) to->terminate();
    } else if (auto kill = std::get_if<Kill>(&action)) {
      if (auto to = shim(kill->instance)) to->kill();
    } else if (auto read = std::get_if<ReadLogs>(&action)) {
      perform(*read);
    } else if (auto note = std::get_if<Note>(&action)) {
      note->warning ? runtime::log::warn(note->text) : runtime::log::info(note->text);
    } else if (std::holds_alternative<Reconnect>(action)) {
      runtime::log::warn("no word from the broker: connecting again", {{"broker", config_.broker}});
      (void)connect().has_value();  // the endpoint was good at the start
    } else if (auto exit = std::get_if<Exit>(&action)) {
      exit_code_ = exit->code;
      loop_.stop();
    }
  }
}

void App::perform(Send& send) {
  std::string header = proto::encode(send.envelope, send.message);
  auto sent = socket_->send("", header, proto::payload_of(send.message));
  if (sent != runtime::Sent::kYes) refused_ = true;
}

void App::perform(const Start& start) {
  auto launch = shims::make_launch(start.application, config_.place);
  auto shim = launch ? shims::make_shim(start.application, std::move(*launch), start.instance,
                                        loop_, events_)
                     : proto::Result<std::unique_ptr<shims::Shim>>(launch.error());
  if (shim) {
    runtime::log::info("service started",
                       {{"application", start.application.name}, {"instance", start.instance}});
    shims_[start.instance] = std::move(*shim);
  } else {
    events_.push_back({start.instance, shims::Exited{shim.error().message}});
  }
}

void App::forget(InstanceId id) {
  auto ended = shims_.find(id);
  if (ended == shims_.end()) return;
  logs_.ended(id, ended->second->log());
  shims_.erase(ended);
}

void App::perform(const ReadLogs& read) {
  std::map<InstanceId, const shims::OutputLog*> running;
  for (const auto& [id, shim] : shims_) running[id] = &shim->log();
  feed(logs_.answer(read, running));
}

shims::Shim* App::shim(InstanceId id) {
  auto found = shims_.find(id);
  return found == shims_.end() ? nullptr : found->second.get();
}

}  // namespace flame::executor

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/broker.hpp"

#include "proto/codec.hpp"
#include "proto/rows.hpp"
#include "runtime/clock.hpp"

namespace flame::autoscaler {

using proto::Code;
using proto::Error;
using proto::Result;

namespace {

constexpr int64_t kPatienceUs = 3 * proto::kUsPerSecond;
/// The broker looks for idle executors all the time and says so after this time: one that has
/// worked since we looked is none.
constexpr uint64_t kIdleMs = 1000;
constexpr int kMessagesPerTurn = 64;

client::ClientConfig config_for(const std::string& endpoint, const std::string& cluster) {
  return {.client = runtime::random_hex(16),
          .endpoint = endpoint,
          .cluster = cluster,
          .version = FLAME_VERSION,
          .first_link = static_cast<uint32_t>(runtime::random_u64()) | 1u};
}

Error of_another_kind(const char* question) {
  return {Code::kBadFrame, std::string("the broker's answer to ") + question + " is none"};
}

Result<std::vector<std::string>> names_in(Result<proto::Message> answer) {
  if (!answer) return answer.error();
  auto listing = std::get_if<proto::Listing>(&*answer);
  auto rows = listing == nullptr ? of_another_kind("pick_victims")
                                 : proto::decode_rows(listing->payload.view());
  if (!rows) return rows.error();
  std::vector<std::string> names;
  for (const auto& row : *rows) names.emplace_back(row.text_at("id"));
  return names;
}

}  // namespace

Broker::Broker(runtime::EventLoop& loop, std::string endpoint, std::string cluster)
    : loop_(loop),
      endpoint_(std::move(endpoint)),
      cluster_(std::move(cluster)),
      core_(config_for(endpoint_, cluster_)) {}

Broker::~Broker() {
  if (socket_) loop_.remove_socket(*socket_);
}

void Broker::pick_victims(const std::string& application, std::vector<std::string> executors,
                          Victims done) {
  uint64_t count = executors.size();
  ask(proto::PickVictims{0, application, count, kIdleMs, std::move(executors)},
      [done = std::move(done)](auto answer) { done(names_in(std::move(answer))); });
}

void Broker::rest(const std::string& executor, Done done) {
  hold(executor, proto::Hold::kResting, std::move(done));
}

void Broker::uncordon(const std::string& executor, Done done) {
  hold(executor, proto::Hold::kNone, std::move(done));
}

void Broker::hold(const std::string& executor, proto::Hold hold, Done done) {
  ask(proto::HoldExecutor{0, executor, hold}, [done = std::move(done)](const auto& answer) {
    done(answer ? proto::Status() : proto::Status(answer.error()));
  });
}

void Broker::ask(proto::Message message, Reply reply) {
  // It may have been replaced by the right one since. Only with a question: nobody is pestered.
  if (std::exchange(refused_, false)) core_ = client::ClientCore(config_for(endpoint_, cluster_));
  client::Ticket ticket = ++last_ticket_;
  replies_.emplace(ticket, std::move(reply));
  feed(client::Tick{});
  feed(client::Request{ticket, std::move(message), kPatienceUs});
}

// Actions may cause events and so further actions, at the end of the list.
void Broker::feed(client::Event event) {
  core_.on(std::move(event), loop_.now(), actions_);
  if (std::exchange(performing_, true)) return;
  while (!actions_.empty()) {
    client::Actions actions;
    actions.swap(actions_);
    for (auto& action : actions) perform(action);
  }
  performing_ = false;
  start_timer();
}

void Broker::perform(client::Action& action) {
  if (std::holds_alternative<client::OpenSocket>(action)) {
    open();
  } else if (auto send = std::get_if<client::Send>(&action)) {
    if (send->envelope.link == failed_link_) return;
    auto header = proto::encode(send->envelope, send->message);
    bool sent = socket_->send("", header, proto::payload_of(send->message)) == runtime::Sent::kYes;
    if (sent) return;
    failed_link_ = send->envelope.link;
    feed(client::SendFailed{});
  } else if (auto answer = std::get_if<client::Answer>(&action)) {
    auto reply = replies_.extract(answer->ticket);
    if (reply.empty()) return;
    // Never from inside the call that asked.
    loop_.call_at(loop_.now().mono_us, [reply = std::move(reply.mapped()),
                                        result = std::move(answer->result)] { reply(result); });
  } else if (std::holds_alternative<client::Rejected>(action)) {
    refused_ = true;
  }
}

void Broker::open() {
  if (!context_) context_ = std::make_unique<runtime::SocketContext>();
  if (socket_) loop_.remove_socket(*socket_);
  socket_ = std::make_unique<runtime::Socket>(*context_, runtime::Socket::Kind::kDealer);
  loop_.add_socket(*socket_, [this] { read(); });
  // A bad endpoint is as good as nobody there: the question times out with its name.
  (void)socket_->connect(endpoint_).has_value();
}

void Broker::read() {
  runtime::Received received;
  for (int i = 0; i < kMessagesPerTurn && socket_->receive(received); i++) {
    if (received.frames > 2) continue;
    auto decoded = proto::decode(received.header, received.payload);
    // What does not decode counts as lost: the sequence shows the gap and the link is made anew.
    if (decoded) feed(client::Received{std::move(*decoded)});
  }
}

void Broker::start_timer() {
  if (timer_ != 0) loop_.cancel(timer_);
  timer_ = 0;
  if (core_.next_deadline() == client::kNever) return;
  timer_ = loop_.call_at(core_.next_deadline(), [this] {
    timer_ = 0;
    feed(client::Tick{});
  });
}

}  // namespace flame::autoscaler

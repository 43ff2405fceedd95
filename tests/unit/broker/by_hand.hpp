// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A core between one client and some executors that are played by hand, as is the store: batches
// are confirmed as they come.

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "broker/core/core.hpp"
#include "proto/elements.hpp"
#include "proto/rows.hpp"

namespace flame::broker {

/// What the store finds in an empty Redis.
inline Recovered first_start() {
  Recovered recovered;
  recovered.cluster = "default";
  recovered.epoch = "1-a";
  recovered.epoch_number = 1;
  recovered.lineage = "L";
  recovered.secret = std::string(16, 's');
  return recovered;
}

class ByHand : public testing::Test {
 protected:
  ByHand() { start(); }
  void start(std::vector<std::pair<std::string, std::string>> executors = {}) {
    Recovered recovered = first_start();
    recovered.executors = std::move(executors);
    core.on(StoreEvent(recovered), now);
    core.on(StoreEvent(StoreHealth{.writable = true}), now);
    turn();
    client = proto::Link(++last_link);
    say(proto::ClientHello{proto::kProtocolMinor, "", "client", "", "test"});
  }

  /// Batches are stored as they come; what leaves is kept by its receiver.
  void turn() {
    while (auto batch = core.close_batch(now)) {
      for (const auto& op : batch->ops) {
        if (auto put = std::get_if<PutExecutor>(&op)) stored[put->executor] = put->value;
      }
      core.on(StoreEvent(BatchStored{batch->number}), now);
    }
    heard.clear();
    answer = "";
    for (auto& action : core.take_actions()) {
      auto send = std::get_if<Send>(&action);
      if (send == nullptr) continue;
      heard[send->peer].push_back(std::string(proto::name_of(proto::type_of(send->message))));
      if (send->peer == "c") take_answer(send->message);
      if (auto bind = std::get_if<proto::Bind>(&send->message)) bindings[send->peer] = *bind;
    }
    EXPECT_EQ(core.broken_invariant(), "");
  }
  void take_answer(const proto::Message& message) {
    if (auto ok = std::get_if<proto::Ok>(&message)) answer = ok->text;
    if (auto error = std::get_if<proto::ErrorReply>(&message)) answer = error->message;
    if (auto listing = std::get_if<proto::Listing>(&message)) {
      names.clear();
      auto rows = proto::decode_rows(listing->payload.view());
      ASSERT_TRUE(rows);
      for (const auto& row : *rows) names.emplace_back(row.text_at("id"));
    }
  }
  void say(proto::Message message) {
    core.on(PeerMessage{Port::kClients, "c", client.next(), std::move(message)}, now);
    turn();
  }
  void executor(const std::string& id, const std::string& provider = "process 1",
                const std::string& nonce = "n", const std::string& application = "echo") {
    links[id] = proto::Link(++last_link);
    proto::ExecutorHello hello;
    hello.executor = id;
    hello.nonce = nonce;
    hello.application = application;
    hello.slots = 2;
    hello.provider = provider;
    from(id, std::move(hello));
  }
  void from(const std::string& id, proto::Message message) {
    core.on(PeerMessage{Port::kExecutors, id, links[id].next(), std::move(message)}, now);
    turn();
  }
  /// Tells the broker that every binding it asked for holds.
  void bound(const std::string& id) {
    for (const auto& binding : bindings[id].bindings)
      from(id, proto::Bound{binding, proto::Code::kOk, ""});
  }
  void session(uint64_t tasks, uint64_t min_instances = 0) {
    proto::CreateSession message;
    message.request = ++request;
    message.session = "s";
    message.spec.application = "echo";
    message.spec.min_instances = min_instances;
    say(std::move(message));
    submit(tasks);
  }
  void submit(uint64_t tasks) {
    if (tasks == 0) return;
    std::string inputs;
    for (uint64_t i = 0; i < tasks; i++) proto::append_element(inputs, "x");
    proto::SessionUid uid = core.state().sessions.begin()->first;
    say(proto::Submit{uid, ++submits, tasks, 0, proto::Bytes::own(std::move(inputs))});
  }
  /// Their services answer everything they have.
  void finish(const std::vector<std::string>& executors) {
    for (const auto& id : executors) {
      auto shares = core.state().executors.at(id).shares;
      for (const auto& [uid, share] : shares) {
        for (const auto& [first, hand] : share.hands) from(id, results_of(uid, hand));
      }
    }
  }
  static proto::TaskResults results_of(proto::SessionUid uid, const Hand& hand) {
    proto::TaskResults results;
    results.uid = uid;
    results.run = hand.run;
    results.ticket = {hand.ticket_run, hand.attempt, hand.epoch, hand.token};
    std::string outputs;
    for (uint64_t i = 0; i < hand.run.count; i++) proto::append_element(outputs, "");
    results.payload = proto::Bytes::own(std::move(outputs));
    results.times = {{hand.run.count, 0, 1}};
    results.window_tasks = 4;
    results.window_bytes = 1000;
    return results;
  }
  uint64_t in_hand(const std::string& id) const {
    uint64_t tasks = 0;
    for (const auto& [uid, share] : core.state().executors.at(id).shares) tasks += share.tasks;
    return tasks;
  }

  Core core{CoreConfig{.version = "test", .seed = 1}};
  proto::Now now{1'000'000, 1'000'000};
  proto::Link client;
  std::map<Peer, proto::Link> links;
  std::map<Peer, std::vector<std::string>> heard;
  std::map<Peer, proto::Bind> bindings;
  std::map<std::string, std::string> stored;
  std::vector<std::string> names;
  std::string answer;
  uint32_t last_link = 0;
  uint64_t request = 0, submits = 0;
};

}  // namespace flame::broker

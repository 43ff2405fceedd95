// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// One Redis (real or of maps) and the stores of the brokers on it, driven step by step. The
// contract suite says its sentences over this.

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "broker/store/memory_store.hpp"
#include "broker/store/redis_store.hpp"
#include "broker/store/store.hpp"
#include "tests/support/redis_server.hpp"

namespace flame::tests {

/// Every key as one line of text: what redis-cli would show, without what differs from run to run.
using Table = std::map<std::string, std::string>;

class World {
 public:
  virtual ~World() = default;
  /// The store of the broker `name`; the same name has the same ring.
  virtual std::unique_ptr<broker::Store> make_store(const std::string& name) = 0;
  virtual proto::Now now() = 0;
  /// Lets some time pass, at most a few milliseconds of a real clock.
  virtual void step(broker::Store& store) = 0;
  virtual Table table() = 0;
  /// SIGKILL and start again; what was answered is still there.
  virtual void restart_redis() = 0;
  /// Makes every key of the session refuse with WRONGTYPE.
  virtual void spoil(const std::string& session) = 0;
  /// It has no memory left for more.
  virtual void fill(bool full) = 0;
  /// Returns when it is in step.
  virtual void add_replica() = 0;
  /// SIGSTOP, SIGCONT.
  virtual void stop_replica(bool stopped) = 0;
};

class MemoryWorld : public World {
 public:
  std::unique_ptr<broker::Store> make_store(const std::string& name) override;
  proto::Now now() override { return {now_us_, now_us_ + 1'700'000'000'000'000}; }
  void step(broker::Store& store) override;
  Table table() override;
  void restart_redis() override { redis_.restart(0); }
  void spoil(const std::string& session) override { redis_.refuse_session(session); }
  void fill(bool full) override { redis_.fill(full); }
  void add_replica() override { redis_.add_replica(); }
  void stop_replica(bool stopped) override { redis_.stop_replica(stopped); }
  broker::MemoryRedis& redis() { return redis_; }

 private:
  broker::MemoryRedis redis_;
  std::map<std::string, std::shared_ptr<broker::MemoryRing>> rings_;
  int64_t now_us_ = 1'000'000;
};

class RedisWorld : public World {
 public:
  explicit RedisWorld(std::vector<std::string> redis_arguments = {});
  std::unique_ptr<broker::Store> make_store(const std::string& name) override;
  proto::Now now() override { return loop_.now(); }
  void step(broker::Store& store) override;
  Table table() override;
  void restart_redis() override;
  void spoil(const std::string& session) override;
  void fill(bool full) override;
  void add_replica() override;
  void stop_replica(bool stopped) override;
  RedisServer& server() { return server_; }
  broker::RedisStoreConfig config(const std::string& name);
  runtime::EventLoop& loop() { return loop_; }

 private:
  RedisServer server_;
  std::unique_ptr<RedisServer> replica_;
  runtime::EventLoop loop_;
};

/// One broker's store and everything that it said.
class Teller {
 public:
  Teller(World& world, std::unique_ptr<broker::Store> store)
      : world_(world), store_(std::move(store)) {}

  broker::Store& store() { return *store_; }
  std::vector<broker::StoreEvent>& events() { return events_; }

  /// The next event of the kind; fails the test after 30 s of a real clock. Earlier ones of other
  /// kinds are dropped.
  template <class Event>
  Event wait() {
    auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    for (;;) {
      while (!events_.empty()) {
        broker::StoreEvent event = std::move(events_.front());
        events_.erase(events_.begin());
        if (auto found = std::get_if<Event>(&event)) return std::move(*found);
      }
      if (std::chrono::steady_clock::now() > until)
        throw std::runtime_error("the event did not come");
      world_.step(*store_);
      take();
    }
  }
  broker::StoreHealth wait_health(const std::function<bool(const broker::StoreHealth&)>& good) {
    for (;;) {
      auto health = wait<broker::StoreHealth>();
      if (good(health)) return health;
    }
  }
  void take() {
    for (auto& event : store_->poll(world_.now())) events_.push_back(std::move(event));
  }
  broker::Recovered start() {
    store_->start(world_.now());
    auto recovered = wait<broker::Recovered>();
    last_ = recovered.last_batch;
    return recovered;
  }
  uint64_t send(std::vector<broker::StoreOp> ops) {
    broker::Batch batch{++last_, std::move(ops)};
    store_->write(std::move(batch), world_.now());
    return last_;
  }
  void write(std::vector<broker::StoreOp> ops) {
    uint64_t number = send(std::move(ops));
    while (wait<broker::BatchStored>().number < number) {
    }
  }
  template <class Answer>
  Answer ask(broker::StoreRead read) {
    store_->read(std::move(read), world_.now());
    return wait<Answer>();
  }
  uint64_t last() const { return last_; }
  void set_last(uint64_t last) { last_ = last; }

 private:
  World& world_;
  std::unique_ptr<broker::Store> store_;
  std::vector<broker::StoreEvent> events_;
  uint64_t last_ = 0;
};

}  // namespace flame::tests

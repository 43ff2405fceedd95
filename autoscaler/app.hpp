// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The process: four times a second it reads demand and executors, asks the provider what exists,
// decides, writes down why, and only then does it. One round at a time, one event loop.

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "autoscaler/broker.hpp"
#include "autoscaler/core/observer.hpp"
#include "autoscaler/core/scaler.hpp"
#include "autoscaler/journal.hpp"
#include "autoscaler/kubernetes/kubernetes_provider.hpp"
#include "autoscaler/provider.hpp"
#include "runtime/event_loop.hpp"
#include "runtime/redis_connection.hpp"
#include "runtime/signals.hpp"

namespace flame::autoscaler {

struct AppConfig {
  Policy policy;
  runtime::RedisAddress redis;
  std::string broker;                              ///< its endpoint for clients
  std::string cluster;                             ///< broker and Redis must be of it; "" for any
  std::string control_socket;                      ///< of a local cluster
  std::optional<kubernetes::Settings> kubernetes;  ///< else
  bool dry_run = false;
};

class App {
 public:
  explicit App(AppConfig config);
  /// Until a signal says so.
  int run();

 private:
  enum class Phase : uint8_t { kWaiting, kReading, kListing, kRecording, kActing };

  void open_redis();
  void on_lost(const proto::Error& error);
  void begin_round();
  void refuse(const proto::Error& error);
  void list(proto::Result<Stored> stored);
  void decide(const proto::Result<Stored>& stored,
              const proto::Result<std::vector<Provided>>& provided);
  void record(std::vector<Decision> decisions);
  void act(const std::vector<Decision>& decisions);
  void act_next();
  void end_round();
  void leave();

  AppConfig config_;
  runtime::EventLoop loop_;
  runtime::Signals signals_;
  runtime::RedisConnection redis_;
  runtime::Backoff reconnect_;
  std::string redis_trouble_ = "Redis has not answered yet";
  Broker broker_;
  std::unique_ptr<Provider> provider_;
  Observer observer_;
  Scaler scaler_;
  Journal journal_;
  Phase phase_ = Phase::kWaiting;
  bool led_ = false;       ///< in the last round
  bool recalled_ = false;  ///< what an earlier one measured
  bool leaving_ = false;   ///< a signal came
  std::deque<std::function<void(Provider::Done)>> orders_;
  std::vector<std::string> leave_;  ///< of this round
};

}  // namespace flame::autoscaler

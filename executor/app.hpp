// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The owner of everything in an executor process, in order, and the loop's turn:
// broker socket and services -> core -> services first, so that they work while we speak to the
// broker.

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "executor/core/core.hpp"
#include "executor/logs.hpp"
#include "runtime/event_loop.hpp"
#include "runtime/http_client.hpp"
#include "runtime/signals.hpp"
#include "runtime/socket.hpp"
#include "shims/grpc/client.hpp"
#include "shims/launch.hpp"
#include "shims/shim.hpp"

namespace flame::executor {

struct AppConfig {
  std::string broker = "tcp://127.0.0.1:7701";
  shims::LaunchPlace place;
  Config core;
};

class App {
 public:
  explicit App(AppConfig config);
  ~App();

  /// Fails where the endpoint makes no sense.
  proto::Status start();
  /// Until SIGTERM, SIGINT or --idle-exit. Returns the exit code.
  int run();
  runtime::EventLoop& loop() { return loop_; }

 private:
  proto::Status connect();
  void read_broker();
  void turn();
  void feed(const Event& event);
  void on_signal(int signal);
  void perform();
  void perform(Send& send);
  void perform(const Start& start);
  void perform(const ReadLogs& read);
  void start_timer();
  shims::Shim* shim(InstanceId id);
  void forget(InstanceId id);

  AppConfig config_;
  shims::Guard guard_;  // forks: before anything that must not be doubled
  runtime::EventLoop loop_;
  runtime::Signals signals_;  // before the context: libzmq's threads must have them blocked
  runtime::SocketContext context_;
  std::optional<runtime::Socket> socket_;
  Core core_;
  Logs logs_;
  Actions actions_;
  shims::Events events_;
  runtime::HttpClient http_;
  std::unique_ptr<shims::GrpcClient> grpc_;  ///< null: built without
  std::unordered_map<InstanceId, std::unique_ptr<shims::Shim>> shims_;
  runtime::EventLoop::TimerId timer_ = 0;
  int64_t timer_at_us_ = 0;
  bool refused_ = false;  ///< a message of this turn did not leave
  int exit_code_ = 0;
};

}  // namespace flame::executor

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The owner of everything in a broker process, in order, and the loop's turn:
// sockets -> core -> one batch to the store -> what is confirmed leaves.

#include <memory>
#include <string>

#include "broker/core/core.hpp"
#include "broker/gateway.hpp"
#include "broker/http.hpp"
#include "broker/store/redis_store.hpp"
#include "runtime/event_loop.hpp"
#include "runtime/signals.hpp"

namespace flame::broker {

struct AppConfig {
  std::string address = "127.0.0.1";
  int port = 7700;  ///< clients; executors + 1, HTTP + 80; 0 takes free ones
  bool insecure = false;
  std::string ready_file;  ///< JSON: the endpoints, written when serving; or who replaced it
  CoreConfig core;
  RedisStoreConfig store;
};

class App {
 public:
  explicit App(AppConfig config);

  /// Binds the sockets; an Error names the port and the next free one.
  proto::Status start();
  /// Until a signal or a fence. Returns the exit code.
  int run();
  /// After run(): the process must end by std::_Exit; see HttpServer::stop().
  bool threads_remain() const { return threads_remain_; }

 private:
  void turn();
  void perform(std::vector<Action> actions);
  void perform(Send& send);
  void publish();
  void announce();
  void write_ready_file(const std::string& text);
  void leave();

  AppConfig config_;
  runtime::EventLoop loop_;
  runtime::Signals signals_;  // before the context: libzmq's threads must have them blocked
  runtime::SocketContext context_;
  Core core_;
  RedisStore store_;
  Gateway clients_;
  Gateway executors_;
  HttpServer http_;
  runtime::EventLoop::TimerId timer_ = 0;
  int64_t publish_due_us_ = 0;
  int http_port_ = 0;
  bool threads_remain_ = false;
  bool announced_ = false;
  bool leaving_ = false;
  int exit_code_ = 0;
};

}  // namespace flame::broker

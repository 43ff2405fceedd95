// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A long-lived service that listens on a unix socket and answers the calls of instance.proto, as
// services of the original Flame do. One call for each task; as many at a time as the application's
// `concurrency`, at most one of a frame.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proto/application.hpp"
#include "shims/call_queue.hpp"
#include "shims/grpc/client.hpp"
#include "shims/service_process.hpp"
#include "shims/shim.hpp"
#include "shims/socket_folder.hpp"

namespace flame::shims {

class GrpcShim final : public Shim {
 public:
  static proto::Result<std::unique_ptr<Shim>> start(const proto::Application& application,
                                                    const Launch& launch, InstanceId instance,
                                                    runtime::EventLoop& loop, Events& events);
  ~GrpcShim() override;

  void enter(const EnterSession& session) override;
  void invoke(const std::vector<Frame>& frames) override;
  void cancel(const proto::Run& run) override;
  void leave() override;
  void terminate() override;
  void kill() override;

 private:
  GrpcShim(const proto::Application& application, GrpcClient& client, InstanceId instance,
           runtime::EventLoop& loop, Events& events);

  void try_connect();
  void call_enter();
  void start_calls();
  void on_answer(const GrpcCall& call, const GrpcAnswer& answer);
  void on_entered(const GrpcAnswer& answer);
  void on_invoked(proto::TaskId task, const GrpcAnswer& answer);
  void on_left(const GrpcAnswer& answer);
  /// True if there was no answer, and never will be one.
  bool broken(const GrpcAnswer& answer);
  void on_exit();
  void gone();

  proto::Application application_;
  GrpcClient& client_;
  InstanceId instance_;
  runtime::EventLoop& loop_;
  Events& events_;
  SocketFolder folder_;
  ServiceProcess service_;
  std::unique_ptr<GrpcConnection> connection_;
  std::string not_connected_because_;
  int64_t started_us_;
  runtime::EventLoop::TimerId connect_timer_ = 0;

  std::optional<EnterSession> to_enter_;  ///< not called yet: nobody listens
  std::string session_;
  CallQueue queue_;
  uint64_t calls_ = 0;  ///< that run, of all three methods
  bool exited_ = false;
};

}  // namespace flame::shims

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Executors on this machine, through the supervisor of `flmctl up`: it has their processes, starts
// them again when they crash, and outlives us. One line of JSON each way over its control.sock.

#include <memory>
#include <string>

#include "autoscaler/provider.hpp"
#include "runtime/probe.hpp"

namespace flame::autoscaler {

class LocalProvider final : public Provider {
 public:
  LocalProvider(runtime::EventLoop& loop, std::string control_socket)
      : loop_(loop), control_socket_(std::move(control_socket)) {}

  void list(Listed done) override;
  void add(const std::string& application, uint64_t count, Done done) override;
  void leave(const std::vector<std::string>& ids, Done done) override;

 private:
  void ask(const std::string& request, std::function<void(const std::string&)> done);
  void order(const std::string& request, Done done);

  runtime::EventLoop& loop_;
  std::string control_socket_;
  std::unique_ptr<runtime::Probe> probe_;
};

}  // namespace flame::autoscaler

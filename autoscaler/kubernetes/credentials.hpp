// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The thin edge around access.hpp: reads the files, runs the plugin. A token in a file is read for
// every request, as it rotates; what a plugin printed is kept until it expires or was refused.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "autoscaler/kubernetes/access.hpp"
#include "runtime/command.hpp"
#include "runtime/event_loop.hpp"
#include "runtime/http_client.hpp"

namespace flame::autoscaler::kubernetes {

/// `kubeconfig` "" is: in a pod its service account, else $KUBECONFIG, else ~/.kube/config.
proto::Result<Access> load_access(const std::string& kubeconfig, const std::string& context);

class Credentials {
 public:
  using Ready = std::function<void(proto::Result<runtime::HttpRequest>)>;

  Credentials(runtime::EventLoop& loop, Access access) : loop_(loop), access_(std::move(access)) {}

  const Access& access() const { return access_; }
  /// A request with server, TLS and authorization filled in. Called from the loop, or from inside.
  void prepare(Ready ready);
  /// 401: what was used is worth nothing any more.
  void refused() { known_ = false; }

 private:
  void run_plugin();
  void answer();
  proto::Result<runtime::HttpRequest> request() const;

  runtime::EventLoop& loop_;
  Access access_;
  bool known_ = false;  ///< credential_ was printed by the plugin and is good still
  Credential credential_;
  proto::Status trouble_;
  std::unique_ptr<runtime::Command> plugin_;
  std::vector<Ready> waiting_;
};

}  // namespace flame::autoscaler::kubernetes

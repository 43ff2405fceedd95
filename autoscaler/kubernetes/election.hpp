// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Takes part in the election: looks at the Lease every two seconds and renews or takes it. Has a
// connection and a patience of its own, so that a call that is held back does not cost the lease.

#include <functional>
#include <string>

#include "autoscaler/kubernetes/api.hpp"
#include "autoscaler/kubernetes/candidate.hpp"
#include "autoscaler/kubernetes/deployment.hpp"

namespace flame::autoscaler::kubernetes {

class Election {
 public:
  Election(runtime::EventLoop& loop, Access access, const Place& place, std::string identity);

  bool leads() const { return candidate_.leads(loop_.now().mono_us); }
  /// Gives the lease back, so that the next one need not wait. `done` is called from the loop.
  void resign(std::function<void()> done);

 private:
  void look();
  void seen(const proto::Result<proto::Value>& object);
  void write(const LeaseSeen* before, const std::string& identity, std::function<void()> done);
  void again();
  void tell(const std::string& why, bool trouble);

  runtime::EventLoop& loop_;
  Api api_;
  std::string space_, instance_, name_, path_;
  Candidate candidate_;
  LeaseSeen last_;
  std::string told_;
  bool resigned_ = false;
};

}  // namespace flame::autoscaler::kubernetes

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Executors as pods: a Deployment for each application, made and resized through the API server.
// What is not labelled as ours is never touched. An executor's id is its pod's name.
//
// To shrink, the victims, which the broker has drained before, get a low deletion cost, then the
// Deployment is scaled down, and the controller deletes them.

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "autoscaler/kubernetes/api.hpp"
#include "autoscaler/kubernetes/deployment.hpp"
#include "autoscaler/kubernetes/election.hpp"
#include "autoscaler/kubernetes/fleet.hpp"
#include "autoscaler/kubernetes/mirror.hpp"
#include "autoscaler/provider.hpp"

namespace flame::autoscaler::kubernetes {

struct Settings {
  Access access;
  PodDefaults defaults;
  Place place;
  std::string identity;  ///< ours in the election; "" for none: this is the only one
};

class KubernetesProvider : public Provider {
 public:
  KubernetesProvider(runtime::EventLoop& loop, Settings settings);

  bool reads_applications() const override { return true; }
  bool leads() const override { return !election_ || election_->leads(); }
  void resign(const std::function<void()>& done) override;
  void know(const std::map<std::string, proto::Value>& applications) override;
  void list(Listed done) override;
  void add(const std::string& application, uint64_t count, Done done) override;
  void leave(const std::vector<std::string>& ids, Done done) override;
  void tidy(const Done& done) override;

 private:
  std::string path_of(const std::string& deployment) const;
  Mirror::Sink deployments_sink();
  Mirror::Sink pods_sink();

  void answer(const Done& done, const proto::Status& status);
  void refuse(const std::string& application, const proto::Error& error);
  void create(const proto::Value& body, uint64_t count, const Done& done);
  void apply(proto::Value body, const Done& done);
  void scale(const DeploymentSeen& known, uint64_t replicas, const Done& done);
  void put_scale(const DeploymentSeen& known, const proto::Value& scale, uint64_t replicas,
                 const Done& done);
  void next_shrink(const Done& done);
  void shrink_one(const DeploymentSeen& known, const std::set<std::string>& members,
                  const Done& done);
  void mark_next(const std::shared_ptr<std::deque<std::pair<std::string, bool>>>& marks,
                 const Done& done);

  runtime::EventLoop& loop_;
  Settings settings_;
  Api api_;
  std::unique_ptr<Election> election_;  ///< null: there is none
  std::string deployments_path_, pods_path_, selector_;
  Fleet fleet_;
  Mirror deployments_, pods_;
  std::map<std::string, proto::Value> applications_;  ///< as they are registered
  std::set<std::string> registered_;
  std::vector<Provided> refused_;  ///< starts that were refused, listed once as failed ones
  uint64_t refusals_ = 0;
  std::map<std::string, std::set<std::string>> leaving_;  ///< deployment -> members, still to do
  proto::Status leave_status_;
};

}  // namespace flame::autoscaler::kubernetes

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What is known of our Deployments and pods, and what follows from it. Pure.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "autoscaler/core/observer.hpp"
#include "proto/value.hpp"

namespace flame::autoscaler::kubernetes {

/// Of pods with the same readiness the controller takes those with the lowest cost first.
inline constexpr std::string_view kCostAnnotation = "controller.kubernetes.io/pod-deletion-cost";
inline constexpr std::string_view kVictimCost = "-1000";

struct DeploymentSeen {
  std::string name, uid, version;
  std::string application;
  std::string hash;     ///< of what was applied
  std::string trouble;  ///< why pods cannot be created
  uint64_t replicas = 0;
  bool leaving = false;  ///< is being deleted

  static DeploymentSeen from(const proto::Value& object);
};

struct PodSeen {
  std::string name, uid, version;
  std::string application, deployment;
  std::string trouble;   ///< why it does not run, or how it ended last
  uint64_t exits = 0;    ///< above 0: it does not run, and will not without help
  bool leaving = false;  ///< is being deleted
  bool over = false;     ///< has ended and stays so: the controller makes another one
  bool marked = false;   ///< with our deletion cost

  static PodSeen from(const proto::Value& object);
  bool lives() const { return !leaving && !over; }
};

class Fleet {
 public:
  /// What is older than what is known is skipped: a watch may be behind our own writes.
  void put_deployment(DeploymentSeen seen);
  void put_pod(PodSeen seen);
  void drop_deployment(const std::string& name) { deployments_.erase(name); }
  void drop_pod(const std::string& name) { pods_.erase(name); }
  /// After a list: those that were not in it are gone.
  void keep_deployments(const std::set<std::string>& names);
  void keep_pods(const std::set<std::string>& names);
  void scaled(const std::string& name, uint64_t replicas, const std::string& version);

  const DeploymentSeen* deployment(const std::string& name) const;
  const PodSeen* pod(const std::string& name) const;
  const std::map<std::string, DeploymentSeen>& deployments() const { return deployments_; }

  /// Its pods, and as NAME/1 ... those that were asked for and do not exist yet.
  std::vector<Provided> provided() const;
  /// Deployments of applications that are not registered, without a replica or a pod.
  std::vector<DeploymentSeen> abandoned(const std::set<std::string>& registered) const;

 private:
  std::map<std::string, DeploymentSeen> deployments_;
  std::map<std::string, PodSeen> pods_;
};

/// How a Deployment is made smaller by these of its members.
struct Shrinking {
  uint64_t replicas = 0;
  std::vector<std::string> mark, unmark;  ///< pods
};
/// `pods` as they are listed just now: those that went meanwhile are not taken off a second time,
/// nor those that the controller is about to delete anyway.
Shrinking shrink(const DeploymentSeen& deployment, const std::vector<PodSeen>& pods,
                 const std::set<std::string>& members);

}  // namespace flame::autoscaler::kubernetes

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/kubernetes/fleet.hpp"

#include <algorithm>
#include <array>

#include "autoscaler/kubernetes/deployment.hpp"
#include "autoscaler/kubernetes/text.hpp"
#include "proto/text.hpp"

namespace flame::autoscaler::kubernetes {

using proto::Value;

namespace {

/// What a container waits for and will not get without somebody's help: its start has failed.
constexpr std::array<std::string_view, 6> kHopeless = {
    "CrashLoopBackOff",           "ImagePullBackOff",     "InvalidImageName",
    "CreateContainerConfigError", "CreateContainerError", "RunContainerError"};

/// Somebody else may have set any number of replicas.
constexpr uint64_t kUnbornMost = 100'000;

bool is_older(const std::string& version, const std::string& known) {
  auto a = proto::parse_number<uint64_t>(version), b = proto::parse_number<uint64_t>(known);
  return a && b && *a < *b;
}

const proto::List& list_in(const Value& value, std::initializer_list<std::string_view> path) {
  static const proto::List kNone;
  const Value* found = at(value, path);
  return found == nullptr || found->list() == nullptr ? kNone : *found->list();
}

std::string why(const Value& state) {
  std::string reason{state.text_at("reason")}, message{state.text_at("message")};
  return reason + (message.empty() ? "" : ": " + message);
}

std::string end_of(const Value& terminated) {
  return "ended with exit code " + std::to_string(terminated.number_at("exitCode")) + " (" +
         std::string(terminated.text_at("reason")) + ")";
}

// How often it ended counts only while it does not run: one that was started again may be busy.
void read_container(PodSeen& pod, const Value& status) {
  if (const Value* last = at(status, {"lastState", "terminated"})) pod.trouble = end_of(*last);
  if (const Value* over = at(status, {"state", "terminated"})) {
    pod.exits++;
    pod.trouble = end_of(*over);
  }
  const Value* waiting = at(status, {"state", "waiting"});
  if (waiting == nullptr) return;
  std::string reason{waiting->text_at("reason")};
  bool hopeless = std::find(kHopeless.begin(), kHopeless.end(), reason) != kHopeless.end();
  if (hopeless) pod.exits++;
  // How it ended says more than that it is started again later.
  if (reason != "CrashLoopBackOff" && reason != "ContainerCreating" && !reason.empty())
    pod.trouble = "does not start: " + why(*waiting);
}

}  // namespace

DeploymentSeen DeploymentSeen::from(const Value& object) {
  DeploymentSeen seen{
      .name = text_in(object, {"metadata", "name"}),
      .uid = text_in(object, {"metadata", "uid"}),
      .version = text_in(object, {"metadata", "resourceVersion"}),
      .application = text_in(object, {"metadata", "annotations", kApplicationAnnotation}),
      .hash = text_in(object, {"metadata", "annotations", kHashAnnotation})};
  seen.replicas =
      static_cast<uint64_t>(std::max<int64_t>(0, number_in(object, {"spec", "replicas"})));
  seen.leaving = at(object, {"metadata", "deletionTimestamp"}) != nullptr;
  for (const auto& condition : list_in(object, {"status", "conditions"})) {
    if (condition.text_at("type") == "ReplicaFailure" && condition.text_at("status") == "True")
      seen.trouble = "is not created: " + std::string(condition.text_at("message"));
  }
  return seen;
}

PodSeen PodSeen::from(const Value& object) {
  PodSeen seen{.name = text_in(object, {"metadata", "name"}),
               .uid = text_in(object, {"metadata", "uid"}),
               .version = text_in(object, {"metadata", "resourceVersion"}),
               .application = text_in(object, {"metadata", "annotations", kApplicationAnnotation}),
               .deployment = text_in(object, {"metadata", "labels", kDeploymentLabel})};
  std::string phase = text_in(object, {"status", "phase"});
  seen.leaving = at(object, {"metadata", "deletionTimestamp"}) != nullptr;
  seen.over = phase == "Succeeded" || phase == "Failed";
  seen.marked = text_in(object, {"metadata", "annotations", kCostAnnotation}) == kVictimCost;
  for (const auto& condition : list_in(object, {"status", "conditions"})) {
    if (condition.text_at("type") == "PodScheduled" && condition.text_at("status") == "False")
      seen.trouble = "has no node: " + std::string(condition.text_at("message"));
  }
  for (const auto& status : list_in(object, {"status", "containerStatuses"})) {
    read_container(seen, status);
  }
  return seen;
}

void Fleet::put_deployment(DeploymentSeen seen) {
  auto& known = deployments_[seen.name];
  if (known.uid == seen.uid && is_older(seen.version, known.version)) return;
  known = std::move(seen);
}

void Fleet::put_pod(PodSeen seen) {
  auto& known = pods_[seen.name];
  if (known.uid == seen.uid && is_older(seen.version, known.version)) return;
  known = std::move(seen);
}

void Fleet::keep_deployments(const std::set<std::string>& names) {
  std::erase_if(deployments_, [&](const auto& entry) { return !names.contains(entry.first); });
}

void Fleet::keep_pods(const std::set<std::string>& names) {
  std::erase_if(pods_, [&](const auto& entry) { return !names.contains(entry.first); });
}

void Fleet::scaled(const std::string& name, uint64_t replicas, const std::string& version) {
  auto known = deployments_.find(name);
  if (known == deployments_.end() || is_older(version, known->second.version)) return;
  known->second.replicas = replicas;
  known->second.version = version;
}

const DeploymentSeen* Fleet::deployment(const std::string& name) const {
  auto found = deployments_.find(name);
  return found == deployments_.end() ? nullptr : &found->second;
}

const PodSeen* Fleet::pod(const std::string& name) const {
  auto found = pods_.find(name);
  return found == pods_.end() ? nullptr : &found->second;
}

std::vector<Provided> Fleet::provided() const {
  std::map<std::string, std::vector<const PodSeen*>> living;
  std::vector<Provided> all;
  for (const auto& [name, pod] : pods_) {
    if (pod.lives() && deployments_.contains(pod.deployment)) {
      living[pod.deployment].push_back(&pod);
    } else if (!pod.over) {
      all.push_back({.id = name, .application = pod.application, .leaving = true});
    }
  }
  for (const auto& [name, deployment] : deployments_) {
    if (deployment.application.empty()) continue;  // somebody took the annotation away
    auto& pods = living[name];
    uint64_t wanted = deployment.leaving ? 0 : deployment.replicas;
    // The controller is about to delete what is too much, marked ones first.
    std::stable_sort(pods.begin(), pods.end(),
                     [](auto* a, auto* b) { return a->marked && !b->marked; });
    uint64_t doomed = pods.size() - std::min<uint64_t>(pods.size(), wanted);
    for (size_t i = 0; i < pods.size(); i++) {
      all.push_back({.id = pods[i]->name,
                     .application = deployment.application,
                     .leaving = i < doomed,
                     .exits = pods[i]->exits,
                     .trouble = pods[i]->trouble});
    }
    uint64_t unborn =
        std::min<uint64_t>(kUnbornMost, wanted - std::min<uint64_t>(wanted, pods.size()));
    for (uint64_t i = 1; i <= unborn; i++) {
      all.push_back({.id = name + "/" + std::to_string(i),
                     .application = deployment.application,
                     .trouble = deployment.trouble});
    }
  }
  return all;
}

std::vector<DeploymentSeen> Fleet::abandoned(const std::set<std::string>& registered) const {
  std::set<std::string> inhabited;
  for (const auto& [name, pod] : pods_) inhabited.insert(pod.deployment);
  std::vector<DeploymentSeen> all;
  for (const auto& [name, deployment] : deployments_) {
    if (deployment.replicas == 0 && !deployment.leaving && !deployment.application.empty() &&
        !registered.contains(deployment.application) && !inhabited.contains(name))
      all.push_back(deployment);
  }
  return all;
}

Shrinking shrink(const DeploymentSeen& deployment, const std::vector<PodSeen>& pods,
                 const std::set<std::string>& members) {
  Shrinking plan;
  uint64_t living = 0, staying = 0, unborn = 0;
  for (const auto& pod : pods) {
    if (!pod.lives()) continue;
    living++;
    bool goes = members.contains(pod.name);
    if (!goes) staying++;
    if (goes && !pod.marked) plan.mark.push_back(pod.name);
    if (!goes && pod.marked) plan.unmark.push_back(pod.name);
  }
  for (const auto& member : members) unborn += member.starts_with(deployment.name + "/") ? 1 : 0;
  uint64_t missing = deployment.replicas - std::min(deployment.replicas, living);
  plan.replicas = std::min(deployment.replicas, staying + missing - std::min(missing, unborn));
  // Where all or none go there is nothing to choose.
  if (staying == 0) plan.mark.clear();
  if (plan.replicas == deployment.replicas) plan.mark.clear();
  return plan;
}

}  // namespace flame::autoscaler::kubernetes

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// From an application to the Deployment of its executors. Pure.
//
// What a pod is made of comes from the operator's defaults; of these an application's manifest
// (`image` and `spec.kubernetes`) may replace what the operator allows and nothing else.

#include <set>
#include <string>
#include <string_view>

#include "proto/application.hpp"
#include "proto/error.hpp"
#include "proto/value.hpp"

namespace flame::autoscaler::kubernetes {

/// Labels and annotations of our own; the selector is made of the first three.
inline constexpr std::string_view kNameLabel = "app.kubernetes.io/name";
inline constexpr std::string_view kInstanceLabel = "app.kubernetes.io/instance";
inline constexpr std::string_view kDeploymentLabel = "flame/deployment";
inline constexpr std::string_view kManagedByLabel = "app.kubernetes.io/managed-by";
inline constexpr std::string_view kApplicationAnnotation = "flame/application";
inline constexpr std::string_view kHashAnnotation = "flame/spec-hash";
inline constexpr std::string_view kManager = "flame-autoscaler";

/// `flame-`, the name in lower case with '-' for what a name may not have, at most 40 characters,
/// and 6 hexadecimal digits of the exact name: names that look alike stay apart.
std::string deployment_name(std::string_view application);

/// What the operator says: the section `kubernetes` of the defaults file.
struct PodDefaults {
  proto::Map fields;
  std::set<std::string, std::less<>> allowed = {"image",       "resources",   "labels",
                                                "annotations", "environment", "slots"};
};
/// An empty file is fine. Errors name the field and the nearest right one.
proto::Result<PodDefaults> pod_defaults_from(const proto::Value& file);

/// What all Deployments of one autoscaler have in common.
struct Place {
  std::string space;     ///< namespace
  std::string instance;  ///< tells clusters in one namespace apart
  std::string broker;    ///< the endpoint for executors, as pods reach it
  uint64_t slots = 1;    ///< where an application says nothing
  std::string cluster;   ///< the one that executors ask for; "" for any
};

/// The body for server-side apply. Without replicas, so that the hash in its annotation says
/// whether an application or a default has changed.
proto::Result<proto::Value> deployment_for(const proto::Application& application,
                                           const PodDefaults& defaults, const Place& place);
/// `version`: applied only if the object still has it; "" for whatever is there.
proto::Value with_replicas(proto::Value deployment, uint64_t replicas,
                           const std::string& version = "");

/// For lists and watches: what is ours.
std::string label_selector(const std::string& instance);

}  // namespace flame::autoscaler::kubernetes

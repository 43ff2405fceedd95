// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/kubernetes/candidate.hpp"

#include <algorithm>

#include "autoscaler/kubernetes/deployment.hpp"
#include "autoscaler/kubernetes/text.hpp"

namespace flame::autoscaler::kubernetes {

using proto::Map;
using proto::Value;

LeaseSeen LeaseSeen::from(const Value& object, const std::string& instance) {
  LeaseSeen seen{.version = text_in(object, {"metadata", "resourceVersion"}),
                 .holder = text_in(object, {"spec", "holderIdentity"}),
                 .duration_s = number_in(object, {"spec", "leaseDurationSeconds"}),
                 .transitions = number_in(object, {"spec", "leaseTransitions"})};
  seen.ours = text_in(object, {"metadata", "labels", kManagedByLabel}) == kManager &&
              text_in(object, {"metadata", "labels", kInstanceLabel}) == instance;
  return seen;
}

Candidate::Step Candidate::look(const LeaseSeen& seen, int64_t now_us) {
  if (seen.version != version_) {
    version_ = seen.version;
    seen_us_ = now_us;
  }
  if (seen.holder == identity_) return Step::kRenew;
  int64_t duration_s = std::max<int64_t>(1, seen.duration_s);
  bool expired = now_us - seen_us_ >= duration_s * proto::kUsPerSecond;
  return seen.holder.empty() || expired ? Step::kTake : Step::kWait;
}

Value lease_body(const std::string& name, const std::string& space, const std::string& instance,
                 const std::string& identity, const LeaseSeen* before, int64_t wall_us) {
  bool renewed = before != nullptr && before->holder == identity;
  bool given_back = identity.empty();
  std::string now = write_time(wall_us);
  Map metadata = {{"name", name},
                  {"namespace", space},
                  {"labels", Map{{std::string(kNameLabel), "flame-autoscaler"},
                                 {std::string(kInstanceLabel), instance},
                                 {std::string(kManagedByLabel), std::string(kManager)}}}};
  if (before != nullptr) metadata.emplace_back("resourceVersion", before->version);
  int64_t transitions = before == nullptr ? 0 : before->transitions;
  Map spec = {{"holderIdentity", identity},
              {"leaseDurationSeconds", given_back ? 1 : kLeaseSeconds},
              // Another one in every write: one that changes nothing keeps its version, and looks
              // like no renewal.
              {"renewTime", now},
              {"leaseTransitions", transitions + (renewed || given_back || !before ? 0 : 1)}};
  if (!renewed && !given_back) spec.emplace_back("acquireTime", now);
  return Map{{"apiVersion", "coordination.k8s.io/v1"},
             {"kind", "Lease"},
             {"metadata", metadata},
             {"spec", spec}};
}

}  // namespace flame::autoscaler::kubernetes

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/kubernetes/kubernetes_provider.hpp"

#include <algorithm>

#include "autoscaler/kubernetes/text.hpp"
#include "proto/text.hpp"

namespace flame::autoscaler::kubernetes {

using proto::Code;
using proto::Error;
using proto::Map;
using proto::Result;
using proto::Value;

namespace {

/// An unknown field is an error rather than dropped; conflicts name us.
constexpr const char* kWriting = "fieldManager=flame-autoscaler&fieldValidation=Strict";

bool is_ours(const Value& object, const Place& place, const std::string& application) {
  return text_in(object, {"metadata", "labels", kManagedByLabel}) == kManager &&
         text_in(object, {"metadata", "labels", kInstanceLabel}) == place.instance &&
         text_in(object, {"metadata", "annotations", kApplicationAnnotation}) == application;
}

Error moved(const std::string& name) {
  return {Code::kConflict,
          "somebody else changes the Deployment " + name + " at the same time; decided again"};
}

}  // namespace

KubernetesProvider::KubernetesProvider(runtime::EventLoop& loop, Settings settings)
    : loop_(loop),
      settings_(std::move(settings)),
      api_(loop, settings_.access),
      deployments_path_("/apis/apps/v1/namespaces/" + settings_.place.space + "/deployments"),
      pods_path_("/api/v1/namespaces/" + settings_.place.space + "/pods"),
      selector_(label_selector(settings_.place.instance)),
      deployments_(loop, api_, deployments_path_, selector_, deployments_sink()),
      pods_(loop, api_, pods_path_, selector_, pods_sink()) {
  if (!settings_.identity.empty()) {
    election_ =
        std::make_unique<Election>(loop, settings_.access, settings_.place, settings_.identity);
  }
  deployments_.start();
  pods_.start();
}

void KubernetesProvider::resign(const std::function<void()>& done) {
  if (election_) return election_->resign(done);
  done();
}

Mirror::Sink KubernetesProvider::deployments_sink() {
  return {
      .put = [this](const Value& object) { fleet_.put_deployment(DeploymentSeen::from(object)); },
      .gone = [this](const std::string& name) { fleet_.drop_deployment(name); },
      .only = [this](const std::set<std::string>& names) { fleet_.keep_deployments(names); }};
}

Mirror::Sink KubernetesProvider::pods_sink() {
  return {.put = [this](const Value& object) { fleet_.put_pod(PodSeen::from(object)); },
          .gone = [this](const std::string& name) { fleet_.drop_pod(name); },
          .only = [this](const std::set<std::string>& names) { fleet_.keep_pods(names); }};
}

std::string KubernetesProvider::path_of(const std::string& deployment) const {
  return deployments_path_ + "/" + deployment;
}

void KubernetesProvider::know(const std::map<std::string, Value>& applications) {
  applications_ = applications;
  registered_.clear();
  for (const auto& [name, row] : applications) registered_.insert(name);
}

void KubernetesProvider::answer(const Done& done, const proto::Status& status) {
  loop_.call_at(loop_.now().mono_us, [done, status] { done(status); });
}

void KubernetesProvider::list(Listed done) {
  std::string trouble = deployments_.trouble().empty() ? pods_.trouble() : deployments_.trouble();
  auto provided = trouble.empty() ? Result<std::vector<Provided>>(fleet_.provided())
                                  : Error{Code::kNoBroker, "the API server: " + trouble};
  if (provided) {
    auto refused = std::exchange(refused_, {});
    provided->insert(provided->end(), refused.begin(), refused.end());
  }
  loop_.call_at(loop_.now().mono_us, [done, provided] { done(provided); });
}

// ---- up
// ------------------------------------------------------------------------------------------

// For the policy it is a start that failed: after three it waits, longer each time, and says why.
void KubernetesProvider::refuse(const std::string& application, const Error& error) {
  if (passes(error)) return;
  refused_.push_back(
      {.id = deployment_name(application) + "-refused-" + std::to_string(++refusals_),
       .application = application,
       .exits = 1,
       .trouble = "was refused: " + error.message});
}

void KubernetesProvider::add(const std::string& application, uint64_t count, Done done) {
  Done noted = [this, application, done = std::move(done)](const proto::Status& status) {
    if (!status) refuse(application, status.error());
    done(status);
  };
  auto row = applications_.find(application);
  if (row == applications_.end())
    return answer(noted, Error{Code::kGone, application + " is not registered any more"});
  auto parsed = proto::application_from(row->second);
  auto body = parsed ? deployment_for(*parsed, settings_.defaults, settings_.place)
                     : Result<Value>(parsed.error());
  if (!body) return answer(noted, body.error());
  const DeploymentSeen* known = fleet_.deployment(deployment_name(application));
  if (known == nullptr) return create(*body, count, noted);
  if (known->leaving)
    return answer(noted, Error{Code::kConflict, known->name + " is just being deleted"});
  if (known->hash == text_in(*body, {"metadata", "annotations", kHashAnnotation}))
    return scale(*known, known->replicas + count, noted);
  // The application has changed: its pods are replaced, each drains.
  apply(with_replicas(*body, known->replicas + count, known->version), noted);
}

void KubernetesProvider::create(const Value& body, uint64_t count, const Done& done) {
  std::string name = text_in(body, {"metadata", "name"});
  std::string application = text_in(body, {"metadata", "annotations", kApplicationAnnotation});
  // Applying would take over whatever has the name.
  api_.call({.method = "GET", .path = path_of(name)}, [this, body, count, done, name,
                                                       application](Result<Value> found) {
    if (!found && found.error().code == Code::kNotFound)
      return apply(with_replicas(body, count), done);
    if (!found) return done(found.error());
    if (is_ours(*found, settings_.place, application)) {
      fleet_.put_deployment(DeploymentSeen::from(*found));
      return done(moved(name));
    }
    done(Error{Code::kRefused,
               "there is a Deployment " + name + " in the namespace " + settings_.place.space +
                   " that is not this autoscaler's (its labels say otherwise): delete "
                   "it, or use another namespace"});
  });
}

void KubernetesProvider::apply(Value body, const Done& done) {
  std::string name = text_in(body, {"metadata", "name"});
  api_.call({.method = "PATCH",
             .path = path_of(name) + "?" + kWriting + "&force=true",
             .content_type = "application/apply-patch+yaml",
             .body = std::move(body)},
            [this, done](Result<Value> applied) {
              if (!applied) return done(applied.error());
              fleet_.put_deployment(DeploymentSeen::from(*applied));
              done({});
            });
}

// Read first, so that what was decided on is what is changed.
void KubernetesProvider::scale(const DeploymentSeen& known, uint64_t replicas, const Done& done) {
  api_.call({.method = "GET", .path = path_of(known.name) + "/scale"},
            [this, known, replicas, done](Result<Value> scale) {
              if (!scale) return done(scale.error());
              auto current = static_cast<uint64_t>(number_in(*scale, {"spec", "replicas"}));
              if (text_in(*scale, {"metadata", "uid"}) != known.uid || current != known.replicas)
                return done(moved(known.name));
              put_scale(known, *scale, replicas, done);
            });
}

void KubernetesProvider::put_scale(const DeploymentSeen& known, const Value& scale,
                                   uint64_t replicas, const Done& done) {
  Value body =
      Map{{"apiVersion", "autoscaling/v1"},
          {"kind", "Scale"},
          {"metadata", Map{{"name", known.name},
                           {"namespace", settings_.place.space},
                           {"uid", known.uid},
                           {"resourceVersion", text_in(scale, {"metadata", "resourceVersion"})}}},
          {"spec", Map{{"replicas", replicas}}}};
  api_.call({.method = "PUT",
             .path = path_of(known.name) + "/scale?" + kWriting,
             .content_type = "application/json",
             .body = std::move(body)},
            [this, name = known.name, replicas, done](Result<Value> scaled) {
              if (!scaled) return done(scaled.error());
              fleet_.scaled(name, replicas, text_in(*scaled, {"metadata", "resourceVersion"}));
              done({});
            });
}

// ---- down
// ----------------------------------------------------------------------------------------

void KubernetesProvider::leave(const std::vector<std::string>& ids, Done done) {
  leaving_.clear();
  leave_status_ = {};
  for (const auto& id : ids) {
    const PodSeen* pod = fleet_.pod(id);
    std::string deployment = pod != nullptr ? pod->deployment : id.substr(0, id.find('/'));
    // Those that were refused, or are gone, have none.
    if (fleet_.deployment(deployment) != nullptr) leaving_[deployment].insert(id);
  }
  loop_.call_at(loop_.now().mono_us, [this, done = std::move(done)] { next_shrink(done); });
}

void KubernetesProvider::next_shrink(const Done& done) {
  while (!leaving_.empty()) {
    auto node = leaving_.extract(leaving_.begin());
    const DeploymentSeen* known = fleet_.deployment(node.key());
    if (known == nullptr) continue;
    return shrink_one(*known, node.mapped(), [this, done](const proto::Status& status) {
      if (!status && leave_status_) leave_status_ = status;
      next_shrink(done);
    });
  }
  done(leave_status_);
}

// By what exists just now: the copy may be behind, and a pod too many would be one at work.
void KubernetesProvider::shrink_one(const DeploymentSeen& known,
                                    const std::set<std::string>& members, const Done& done) {
  auto pods = std::make_shared<std::vector<PodSeen>>();
  api_.list(pods_path_, selector_ + "," + std::string(kDeploymentLabel) + "=" + known.name,
            {.begin = [pods] { pods->clear(); },
             .item = [pods](const Value& object) { pods->push_back(PodSeen::from(object)); },
             .done =
                 [this, known, members, done, pods](const Result<std::string>& version) {
                   if (!version) return done(version.error());
                   Shrinking plan = shrink(known, *pods, members);
                   if (plan.replicas >= known.replicas) return done({});
                   auto marks = std::make_shared<std::deque<std::pair<std::string, bool>>>();
                   for (const auto& name : plan.unmark) marks->emplace_back(name, false);
                   for (const auto& name : plan.mark) marks->emplace_back(name, true);
                   mark_next(marks, [this, known, plan, done](const proto::Status& status) {
                     if (!status) return done(status);
                     scale(known, plan.replicas, done);
                   });
                 }});
}

void KubernetesProvider::mark_next(
    const std::shared_ptr<std::deque<std::pair<std::string, bool>>>& marks, const Done& done) {
  if (marks->empty()) return done({});
  auto [name, marked] = marks->front();
  marks->pop_front();
  Value cost = marked ? Value(kVictimCost) : Value();
  api_.call(
      {.method = "PATCH",
       .path = pods_path_ + "/" + name + "?fieldManager=flame-autoscaler",
       .content_type = "application/merge-patch+json",
       .body = Map{{"metadata", Map{{"annotations", Map{{std::string(kCostAnnotation), cost}}}}}}},
      [this, marks, done](const Result<Value>& patched) {
        if (!patched && patched.error().code != Code::kNotFound) return done(patched.error());
        if (patched) fleet_.put_pod(PodSeen::from(*patched));
        mark_next(marks, done);
      });
}

void KubernetesProvider::tidy(const Done& done) {
  auto abandoned = fleet_.abandoned(registered_);
  if (abandoned.empty()) return answer(done, {});
  const DeploymentSeen& first = abandoned.front();
  api_.call(
      {.method = "DELETE",
       .path = path_of(first.name),
       .content_type = "application/json",
       .body = Map{{"apiVersion", "v1"},
                   {"kind", "DeleteOptions"},
                   {"propagationPolicy", "Background"},
                   {"preconditions", Map{{"uid", first.uid}, {"resourceVersion", first.version}}}}},
      [this, name = first.name, done](const Result<Value>& deleted) {
        bool gone = deleted || deleted.error().code == Code::kNotFound;
        if (gone) fleet_.drop_deployment(name);
        done(gone ? proto::Status() : proto::Status(deleted.error()));
      });
}

}  // namespace flame::autoscaler::kubernetes

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/kubernetes/deployment.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <vector>

#include "autoscaler/kubernetes/text.hpp"
#include "proto/limits.hpp"
#include "proto/text.hpp"

namespace flame::autoscaler::kubernetes {

using proto::Code;
using proto::Error;
using proto::List;
using proto::Map;
using proto::Result;
using proto::Value;

namespace {

constexpr size_t kSlugMax = 40;
/// Where neither the operator nor a task time-out says how long draining may take.
constexpr int64_t kGraceSeconds = 3600;
/// From the end of the longest task until the process has left.
constexpr int64_t kLeaveSeconds = 30;

enum class Kind : uint8_t { kText, kNumber, kMap, kList };
enum class Into : uint8_t { kPod, kContainer, kOwn };

struct Field {
  std::string_view name;
  Kind kind;
  Into into;
};
// Those that go into the pod or its container are passed on under their own name.
constexpr std::array kFields = {
    Field{"image", Kind::kText, Into::kContainer},
    Field{"imagePullPolicy", Kind::kText, Into::kContainer},
    Field{"command", Kind::kList, Into::kContainer},
    Field{"resources", Kind::kMap, Into::kContainer},
    Field{"securityContext", Kind::kMap, Into::kContainer},
    Field{"volumeMounts", Kind::kList, Into::kContainer},
    Field{"volumes", Kind::kList, Into::kPod},
    Field{"imagePullSecrets", Kind::kList, Into::kPod},
    Field{"nodeSelector", Kind::kMap, Into::kPod},
    Field{"tolerations", Kind::kList, Into::kPod},
    Field{"affinity", Kind::kMap, Into::kPod},
    Field{"topologySpreadConstraints", Kind::kList, Into::kPod},
    Field{"podSecurityContext", Kind::kMap, Into::kOwn},
    Field{"serviceAccountName", Kind::kText, Into::kPod},
    Field{"priorityClassName", Kind::kText, Into::kPod},
    Field{"runtimeClassName", Kind::kText, Into::kPod},
    Field{"terminationGracePeriodSeconds", Kind::kNumber, Into::kOwn},
    Field{"slots", Kind::kNumber, Into::kOwn},
    Field{"labels", Kind::kMap, Into::kOwn},
    Field{"annotations", Kind::kMap, Into::kOwn},
    Field{"environment", Kind::kMap, Into::kOwn},
};

// FNV-1a: what matters is that it is the same for ever.
uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3;
  return hash;
}

std::string hex(uint64_t value, int digits) {
  char text[17];
  std::snprintf(text, sizeof text, "%016lx", static_cast<unsigned long>(value));
  return std::string(text + 16 - digits);
}

std::string_view word_for(Kind kind) {
  constexpr std::array<std::string_view, 4> kWords = {"a text", "a number", "a map", "a list"};
  return kWords.at(static_cast<size_t>(kind));
}

bool fits(const Value& value, Kind kind) {
  switch (kind) {
    case Kind::kText:
      return value.text() != nullptr;
    case Kind::kNumber:
      return std::holds_alternative<int64_t>(value.data) && value.number() >= 0;
    case Kind::kMap:
      return value.map() != nullptr;
    case Kind::kList:
      return value.list() != nullptr;
  }
  return false;
}

Result<const Field*> field_named(std::string_view name, const std::string& where) {
  std::vector<std::string_view> known;
  for (const auto& field : kFields) {
    if (field.name == name) return &field;
    known.push_back(field.name);
  }
  auto nearest = proto::nearest(name, known);
  return Error{Code::kBadRequest,
               where + "." + proto::printable(name, 40) + " is not known" +
                   (nearest.empty() ? "" : "; did you mean " + std::string(nearest) + "?")};
}

// Labels and annotations that we live by, and texts where Kubernetes wants texts.
proto::Status check_texts(const std::string& where, const Value& map) {
  for (const auto& [name, value] : *map.map()) {
    if (value.text() == nullptr)
      return Error{Code::kBadRequest,
                   where + "." + proto::printable(name, 60) + " is not a text; put it in quotes"};
    if (name.starts_with("app.kubernetes.io/") || name.starts_with("flame/"))
      return Error{Code::kBadRequest,
                   where + "." + proto::printable(name, 60) + " is the autoscaler's own"};
  }
  return {};
}

proto::Status check_field(std::string_view name, const Value& value, const std::string& where) {
  auto field = field_named(name, where);
  if (!field) return field.error();
  std::string path = where + "." + std::string(name);
  if (!fits(value, (*field)->kind))
    return Error{Code::kBadRequest, path + " is not " + std::string(word_for((*field)->kind))};
  if (name == "slots" &&
      (value.number() == 0 || value.number() > static_cast<int64_t>(proto::kSlotsMax)))
    return Error{Code::kBadRequest, path + " is not from 1 to " + std::to_string(proto::kSlotsMax)};
  if (name == "labels" || name == "annotations" || name == "environment" || name == "nodeSelector")
    return check_texts(path, value);
  return {};
}

Value* find(Map& map, std::string_view name) {
  for (auto& [key, value] : map) {
    if (key == name) return &value;
  }
  return nullptr;
}

// The application's over the default's: labels, variables and the like by name, the rest whole.
void lay_over(Map& fields, const std::string& name, const Value& value) {
  bool by_name =
      name == "labels" || name == "annotations" || name == "environment" || name == "nodeSelector";
  Value* known = find(fields, name);
  if (known == nullptr) {
    fields.emplace_back(name, value);
  } else if (!by_name) {
    *known = value;
  } else {
    for (const auto& [key, item] : *value.map()) {
      auto& map = std::get<Map>(known->data);
      Value* same = find(map, key);
      if (same != nullptr) {
        *same = item;
      } else {
        map.emplace_back(key, item);
      }
    }
  }
}

Result<Map> fields_of(const proto::Application& application, const PodDefaults& defaults) {
  Map fields = defaults.fields;
  auto take = [&](const std::string& name, const Value& value) -> proto::Status {
    if (!defaults.allowed.contains(name))
      return Error{Code::kRefused,
                   "spec.kubernetes." + name +
                       " is not among what the operator allows applications (`allow` "
                       "of the defaults file)"};
    lay_over(fields, name, value);
    return {};
  };
  if (!application.image.empty()) {
    if (!defaults.allowed.contains("image"))
      return Error{Code::kRefused, "spec.image is not among what the operator allows applications"};
    lay_over(fields, "image", application.image);
  }
  const Value* own = application.extra.find("kubernetes");
  if (own != nullptr && !own->is_null()) {
    if (own->map() == nullptr) return Error{Code::kBadRequest, "spec.kubernetes is not a map"};
    for (const auto& [name, value] : *own->map()) {
      if (name == "image") return Error{Code::kBadRequest, "the image belongs in spec.image"};
      if (auto status = check_field(name, value, "spec.kubernetes"); !status) return status.error();
      if (auto status = take(name, value); !status) return status.error();
    }
  }
  if (find(fields, "image") == nullptr)
    return Error{Code::kBadRequest,
                 "no image: set spec.image, or `image` in the operator's defaults file"};
  return fields;
}

Map labels_of(const std::string& name, const Place& place) {
  return {{std::string(kNameLabel), "flame-executor"},
          {std::string(kInstanceLabel), place.instance},
          {std::string(kDeploymentLabel), name}};
}

void append(Map& to, const Value* more) {
  if (more != nullptr) to.insert(to.end(), more->map()->begin(), more->map()->end());
}

Value container_of(const proto::Application& application, const Map& fields, const Place& place) {
  auto reference = [](const char* path) {
    return Map{{"fieldRef", Map{{"apiVersion", "v1"}, {"fieldPath", path}}}};
  };
  // The pod's name is the executor's: what the broker lists is found with kubectl and back.
  // A drain belongs to the pod: its uid tells it from the next one of that name.
  List variables = {
      Map{{"name", "FLAME_ID"}, {"valueFrom", reference("metadata.name")}},
      Map{{"name", "FLAME_POD_NAMESPACE"}, {"valueFrom", reference("metadata.namespace")}},
      Map{{"name", "FLAME_POD_NAME"}, {"valueFrom", reference("metadata.name")}},
      Map{{"name", "FLAME_POD_UID"}, {"valueFrom", reference("metadata.uid")}}};
  Value all{fields};
  if (const Value* own = all.find("environment")) {
    for (const auto& [name, value] : *own->map())
      variables.push_back(Map{{"name", name}, {"value", value}});
  }
  const Value* own_slots = all.find("slots");
  uint64_t slots = own_slots == nullptr ? place.slots : static_cast<uint64_t>(own_slots->number());
  List arguments = {"--broker=" + place.broker, "--slots=" + std::to_string(slots),
                    "--application=" + application.name};
  if (!place.cluster.empty()) arguments.emplace_back("--cluster=" + place.cluster);
  Map container = {{"name", "executor"}, {"args", std::move(arguments)}, {"env", variables}};
  if (all.find("command") == nullptr) container.emplace_back("command", List{"flame-executor"});
  for (const auto& field : kFields) {
    const Value* value = all.find(field.name);
    if (value != nullptr && field.into == Into::kContainer)
      container.emplace_back(std::string(field.name), *value);
  }
  return container;
}

int64_t grace_of(const proto::Application& application, const Value& fields) {
  if (const Value* said = fields.find("terminationGracePeriodSeconds")) return said->number();
  if (application.task_timeout_ms == 0) return kGraceSeconds;
  return static_cast<int64_t>((application.task_timeout_ms + 999) / 1000) + kLeaveSeconds;
}

Value pod_of(const proto::Application& application, const Map& fields, const Place& place) {
  Value all{fields};
  Map spec = {{"terminationGracePeriodSeconds", grace_of(application, all)},
              // Variables named after services could be taken for options of the executor.
              {"enableServiceLinks", false},
              {"containers", List{container_of(application, fields, place)}}};
  if (all.find("serviceAccountName") == nullptr)
    spec.emplace_back("automountServiceAccountToken", false);
  if (const Value* context = all.find("podSecurityContext"))
    spec.emplace_back("securityContext", *context);
  for (const auto& field : kFields) {
    const Value* value = all.find(field.name);
    if (value != nullptr && field.into == Into::kPod) spec.emplace_back(field.name, *value);
  }
  return spec;
}

}  // namespace

std::string deployment_name(std::string_view application) {
  std::string slug;
  for (unsigned char c : application.substr(0, kSlugMax)) {
    slug += std::isalnum(c) ? static_cast<char>(std::tolower(c)) : '-';
  }
  return "flame-" + slug + "-" + hex(hash_of(application) & 0xffffff, 6);
}

Result<PodDefaults> pod_defaults_from(const Value& file) {
  PodDefaults defaults;
  if (file.is_null()) return defaults;
  const Value* section = file.find("kubernetes");
  if (section == nullptr || section->map() == nullptr)
    return Error{Code::kBadRequest, "the defaults file has no section `kubernetes`"};
  for (const auto& [name, value] : *section->map()) {
    if (name == "allow") continue;
    if (name == "slots")
      return Error{Code::kBadRequest, "kubernetes.slots: the default is the option --slots"};
    if (auto status = check_field(name, value, "kubernetes"); !status) return status.error();
    defaults.fields.emplace_back(name, value);
  }
  const Value* allow = section->find("allow");
  if (allow == nullptr) return defaults;
  if (allow->list() == nullptr)
    return Error{Code::kBadRequest, "kubernetes.allow is not a list of fields"};
  defaults.allowed.clear();
  for (const auto& name : *allow->list()) {
    auto field = field_named(name.text() ? *name.text() : "", "kubernetes.allow");
    if (!field) return field.error();
    defaults.allowed.insert(*name.text());
  }
  return defaults;
}

Result<Value> deployment_for(const proto::Application& application, const PodDefaults& defaults,
                             const Place& place) {
  auto fields = fields_of(application, defaults);
  if (!fields) {
    Error error = fields.error();
    error.message = "application '" + application.name + "': " + error.message;
    return error;
  }
  std::string name = deployment_name(application.name);
  Value all{*fields};
  Map selector = labels_of(name, place);
  Map labels = selector;
  labels.emplace_back("app.kubernetes.io/component", "executor");
  labels.emplace_back("app.kubernetes.io/part-of", "flame");
  labels.emplace_back(std::string(kManagedByLabel), std::string(kManager));
  Map annotations = {{std::string(kApplicationAnnotation), application.name}};
  Map pod_labels = labels, pod_annotations = annotations;
  append(pod_labels, all.find("labels"));
  append(pod_annotations, all.find("annotations"));
  Map spec = {
      {"revisionHistoryLimit", 2},
      {"selector", Map{{"matchLabels", selector}}},
      // No more pods than were asked for, also while a changed application is rolled out.
      {"strategy", Map{{"type", "RollingUpdate"},
                       {"rollingUpdate", Map{{"maxSurge", 0}, {"maxUnavailable", "25%"}}}}},
      {"template", Map{{"metadata", Map{{"labels", pod_labels}, {"annotations", pod_annotations}}},
                       {"spec", pod_of(application, *fields, place)}}}};
  annotations.emplace_back(std::string(kHashAnnotation), hex(hash_of(write_json(spec)), 16));
  return Map{{"apiVersion", "apps/v1"},
             {"kind", "Deployment"},
             {"metadata", Map{{"name", name},
                              {"namespace", place.space},
                              {"labels", labels},
                              {"annotations", annotations}}},
             {"spec", spec}};
}

Value with_replicas(Value deployment, uint64_t replicas, const std::string& version) {
  auto& all = std::get<Map>(deployment.data);
  std::get<Map>(find(all, "spec")->data).emplace_back("replicas", replicas);
  if (!version.empty())
    std::get<Map>(find(all, "metadata")->data).emplace_back("resourceVersion", version);
  return deployment;
}

std::string label_selector(const std::string& instance) {
  return std::string(kManagedByLabel) + "=" + std::string(kManager) + "," +
         std::string(kInstanceLabel) + "=" + instance;
}

}  // namespace flame::autoscaler::kubernetes

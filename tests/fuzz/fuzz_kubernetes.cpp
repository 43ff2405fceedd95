// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// What an API server, a credential plugin and a kubeconfig (as JSON) say: [u8 which, bytes].
#include "autoscaler/kubernetes/access.hpp"
#include "autoscaler/kubernetes/candidate.hpp"
#include "autoscaler/kubernetes/deployment.hpp"
#include "autoscaler/kubernetes/fleet.hpp"
#include "autoscaler/kubernetes/text.hpp"
#include "autoscaler/kubernetes/watch.hpp"
#include "tests/fuzz/input.hpp"

using flame::fuzz::promise;
using namespace flame::autoscaler::kubernetes;

namespace {

void objects(const flame::proto::Value& value) {
  Fleet fleet;
  auto deployment = DeploymentSeen::from(value);
  auto pod = PodSeen::from(value);
  deployment.replicas %= 1000;  // ten thousand would only be slow
  pod.deployment = deployment.name;
  fleet.put_deployment(deployment);
  fleet.put_pod(pod);
  promise(fleet.provided().size() <= 1001, "no more than asked for and there");
  auto plan = shrink(deployment, {pod}, {pod.name, deployment.name + "/1"});
  promise(plan.replicas <= deployment.replicas, "shrinking never grows");
  (void)LeaseSeen::from(value, "flame");
}

// However it is cut, it is the same.
void stream(const std::string& bytes) {
  Lines whole(1000), pieces(1000);
  auto once = whole.feed(bytes);
  std::vector<std::string> lines;
  bool fine = true;
  for (size_t at = 0; at < bytes.size() && fine; at += 3) {
    auto some = pieces.feed(std::string_view(bytes).substr(at, 3));
    fine = some.has_value();
    if (fine) lines.insert(lines.end(), some->begin(), some->end());
  }
  promise(once.has_value() == fine, "a line is too long or it is not");
  if (!once) return;
  promise(*once == lines, "lines do not depend on the pieces");
  for (const auto& line : lines) (void)event_from(line);
}

void manifest(const flame::proto::Value& value) {
  flame::proto::Application application;
  application.name = "app";
  application.image = "image";
  application.extra = value;
  PodDefaults defaults;
  if (auto read = pod_defaults_from(value)) defaults = *read;
  auto made = deployment_for(application, defaults, {"jobs", "flame", "tcp://b:1", 1});
  if (!made) return;
  auto again = read_json(write_json(*made));
  promise(again.has_value(), "what is made is JSON");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  flame::fuzz::Input input(data, size);
  uint8_t which = input.byte();
  std::string bytes = input.rest();
  if (which % 4 == 0) return stream(bytes), 0;
  auto decoded = decode_base64(bytes);
  promise(!decoded || decoded->size() <= bytes.size(), "base64 does not grow");
  (void)credential_from(bytes, {.api_version = "v1", .words = {"plugin"}});
  auto value = read_json(bytes);
  if (!value) return 0;
  if (which % 4 == 1) objects(*value);
  if (which % 4 == 2) (void)access_from_kubeconfig(*value, "/etc", "");
  if (which % 4 == 3) manifest(*value);
  return 0;
}

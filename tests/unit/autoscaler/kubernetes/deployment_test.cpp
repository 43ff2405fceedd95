// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/kubernetes/deployment.hpp"

#include <gmock/gmock.h>

#include "autoscaler/kubernetes/text.hpp"

namespace flame::autoscaler::kubernetes {
namespace {

using proto::List;
using proto::Map;
using proto::Value;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

const Place kPlace{.space = "jobs", .instance = "flame", .broker = "tcp://broker:7701", .slots = 2};

proto::Application application(const std::string& name, Map kubernetes = {}) {
  proto::Application made;
  made.name = name;
  made.command = "/opt/service";
  if (!kubernetes.empty()) made.extra = Map{{"kubernetes", std::move(kubernetes)}};
  return made;
}

PodDefaults defaults(const std::string& yaml) {
  auto made = pod_defaults_from(read_yaml(yaml).value());
  EXPECT_TRUE(made) << made.error().message;
  return *made;
}

TEST(DeploymentName, FitsKubernetesAndTellsNamesApart) {
  std::set<std::string> names;
  for (std::string name : {"pi", "Pi", "PI", "p.i", "p_i", "p-i", "-x", "x.", "a", "A9"}) {
    EXPECT_THAT(deployment_name(name), MatchesRegex("flame-[a-z0-9-]+-[0-9a-f]{6}"));
    names.insert(deployment_name(name));
  }
  EXPECT_EQ(names.size(), 10u);
  std::string longest(128, 'X');
  EXPECT_EQ(deployment_name(longest).size(), 6u + 40 + 1 + 6);
  EXPECT_NE(deployment_name(longest), deployment_name(longest.substr(1)));
  // For ever: another name would be another Deployment.
  EXPECT_EQ(deployment_name("flmping"), "flame-flmping-90571e");
}

TEST(Deployment, AllOfIt) {
  auto made = deployment_for(
      application("Pi.7", Map{{"resources", Map{{"requests", Map{{"cpu", "2"}}}}},
                              {"environment", Map{{"B", "own"}, {"C", "3"}}}}),
      defaults("kubernetes: {image: 'flame:1', nodeSelector: {pool: big}, environment: {A: '1', B: "
               "default}, labels: {team: x}, serviceAccountName: runner, imagePullSecrets: [{name: "
               "s}], podSecurityContext: {runAsNonRoot: true}}"),
      kPlace);
  ASSERT_TRUE(made) << made.error().message;
  std::string name = deployment_name("Pi.7");
  Map selector = {{"app.kubernetes.io/name", "flame-executor"},
                  {"app.kubernetes.io/instance", "flame"},
                  {"flame/deployment", name}};
  Map labels = selector;
  labels.insert(labels.end(), {{"app.kubernetes.io/component", "executor"},
                               {"app.kubernetes.io/part-of", "flame"},
                               {"app.kubernetes.io/managed-by", "flame-autoscaler"}});
  EXPECT_EQ(*made->find("apiVersion"), Value("apps/v1"));
  EXPECT_EQ(*made->find("kind"), Value("Deployment"));
  EXPECT_EQ(text_in(*made, {"metadata", "name"}), name);
  EXPECT_EQ(text_in(*made, {"metadata", "namespace"}), "jobs");
  EXPECT_EQ(*at(*made, {"metadata", "labels"}), Value(labels));
  EXPECT_EQ(text_in(*made, {"metadata", "annotations", "flame/application"}), "Pi.7");
  EXPECT_EQ(text_in(*made, {"metadata", "annotations", "flame/spec-hash"}).size(), 16u);
  EXPECT_EQ(*at(*made, {"spec", "selector", "matchLabels"}), Value(selector));
  Map pod_labels = labels;
  pod_labels.emplace_back("team", "x");
  EXPECT_EQ(*at(*made, {"spec", "template", "metadata", "labels"}), Value(pod_labels));
  EXPECT_EQ(text_in(*made, {"spec", "template", "metadata", "annotations", "flame/application"}),
            "Pi.7");
  const char* pod = R"({"terminationGracePeriodSeconds":3600,"enableServiceLinks":false,)"
                    R"("containers":[{"name":"executor","args":["--broker=tcp://broker:7701",)"
                    R"("--slots=2","--application=Pi.7"],"env":[{"name":"FLAME_ID","valueFrom":)"
                    R"({"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}},)"
                    R"({"name":"FLAME_POD_NAMESPACE","valueFrom":{"fieldRef":{"apiVersion":)"
                    R"("v1","fieldPath":"metadata.namespace"}}},{"name":"FLAME_POD_NAME",)"
                    R"("valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}},)"
                    R"({"name":"FLAME_POD_UID","valueFrom":{"fieldRef":{"apiVersion":"v1",)"
                    R"("fieldPath":"metadata.uid"}}},)"
                    R"({"name":"A","value":"1"},{"name":"B","value":"own"},{"name":"C",)"
                    R"("value":"3"}],"command":["flame-executor"],"image":"flame:1",)"
                    R"("resources":{"requests":{"cpu":"2"}}}],"securityContext":)"
                    R"({"runAsNonRoot":true},"imagePullSecrets":[{"name":"s"}],)"
                    R"("nodeSelector":{"pool":"big"},"serviceAccountName":"runner"})";
  EXPECT_EQ(write_json(*at(*made, {"spec", "template", "spec"})), pod);
  EXPECT_EQ(at(*made, {"spec", "replicas"}), nullptr);
  EXPECT_EQ(number_in(with_replicas(*made, 3), {"spec", "replicas"}), 3);
}

TEST(Deployment, AnApplicationMayHaveItsOwnSlots) {
  auto args = [](const proto::Application& from) {
    auto made = deployment_for(from, defaults("kubernetes: {image: a}"), kPlace);
    if (!made) return made.error().message;
    return write_json(
        *(*at(*made, {"spec", "template", "spec", "containers"})->list())[0].find("args"));
  };
  EXPECT_THAT(args(application("pi")), HasSubstr("--slots=2"));
  EXPECT_THAT(args(application("pi", Map{{"slots", 16}})), HasSubstr("--slots=16"));
  EXPECT_THAT(args(application("pi", Map{{"slots", 0}})), HasSubstr("slots is not from 1 to"));
  EXPECT_THAT(args(application("pi", Map{{"slots", "16"}})), HasSubstr("is not a number"));
}

TEST(Deployment, ExecutorsAskForTheCluster) {
  auto args = [](const std::string& cluster) {
    auto place = kPlace;
    place.cluster = cluster;
    auto made = deployment_for(application("pi"), defaults("kubernetes: {image: a}"), place);
    return write_json(
        *(*at(*made, {"spec", "template", "spec", "containers"})->list())[0].find("args"));
  };
  EXPECT_THAT(args("blue"), HasSubstr(R"("--application=pi","--cluster=blue"])"));
  EXPECT_THAT(args(""), Not(HasSubstr("--cluster")));
}

TEST(Deployment, TheHashSaysWhetherPodsChange) {
  auto hash = [](const proto::Application& from, const std::string& image = "a") {
    auto made = deployment_for(from, defaults("kubernetes: {image: " + image + "}"), kPlace);
    return text_in(*made, {"metadata", "annotations", "flame/spec-hash"});
  };
  auto plain = application("pi");
  EXPECT_EQ(hash(plain), hash(plain));
  EXPECT_NE(hash(plain), hash(plain, "b"));
  auto other = plain;
  other.description = "pods do not have it";
  EXPECT_EQ(hash(plain), hash(other));
  other.image = "b";
  EXPECT_EQ(hash(other), hash(plain, "b"));
}

TEST(Deployment, TheGraceIsLongEnoughToDrain) {
  auto grace = [](const proto::Application& from, const std::string& more = "") {
    auto made = deployment_for(from, defaults("kubernetes: {image: a" + more + "}"), kPlace);
    return number_in(*made, {"spec", "template", "spec", "terminationGracePeriodSeconds"});
  };
  auto timed = application("pi");
  timed.task_timeout_ms = 90'001;
  EXPECT_EQ(grace(application("pi")), 3600);
  EXPECT_EQ(grace(timed), 91 + 30);
  EXPECT_EQ(grace(timed, ", terminationGracePeriodSeconds: 10"), 10);
}

TEST(Deployment, AnApplicationUsesOnlyWhatTheOperatorAllows) {
  auto refusal = [](const proto::Application& from, const std::string& yaml) {
    auto made = deployment_for(from, defaults(yaml), kPlace);
    EXPECT_FALSE(made);
    return made ? "" : made.error().message;
  };
  std::string plain = "kubernetes: {image: a}";
  EXPECT_THAT(refusal(application("pi", Map{{"nodeSelector", Map{{"pool", "gpu"}}}}), plain),
              HasSubstr("application 'pi': spec.kubernetes.nodeSelector is not among what the "
                        "operator allows"));
  EXPECT_TRUE(deployment_for(application("pi", Map{{"nodeSelector", Map{{"pool", "gpu"}}}}),
                             defaults("kubernetes: {image: a, allow: [nodeSelector]}"), kPlace));
  auto own_image = application("pi");
  own_image.image = "mine";
  EXPECT_TRUE(deployment_for(own_image, defaults(plain), kPlace));
  EXPECT_THAT(refusal(own_image, "kubernetes: {image: a, allow: []}"), HasSubstr("spec.image"));
  EXPECT_THAT(refusal(application("pi"), "kubernetes: {}"), HasSubstr("no image: set spec.image"));
  EXPECT_THAT(refusal(application("pi", Map{{"resource", Map{}}}), plain),
              HasSubstr("spec.kubernetes.resource is not known; did you mean resources?"));
  EXPECT_THAT(refusal(application("pi", Map{{"resources", "2"}}), plain),
              HasSubstr("spec.kubernetes.resources is not a map"));
  EXPECT_THAT(refusal(application("pi", Map{{"environment", Map{{"A", 1}}}}), plain),
              HasSubstr("spec.kubernetes.environment.A is not a text"));
  EXPECT_THAT(refusal(application("pi", Map{{"labels", Map{{"flame/deployment", "x"}}}}), plain),
              HasSubstr("the autoscaler's own"));
}

TEST(PodDefaults, MistakesAreNamed) {
  auto refusal = [](const std::string& yaml) {
    auto made = pod_defaults_from(read_yaml(yaml).value());
    EXPECT_FALSE(made);
    return made ? "" : made.error().message;
  };
  EXPECT_THAT(refusal("image: a"), HasSubstr("no section `kubernetes`"));
  EXPECT_THAT(refusal("kubernetes: {imagePolicy: a}"),
              HasSubstr("kubernetes.imagePolicy is not known"));
  EXPECT_THAT(refusal("kubernetes: {terminationGracePeriodSeconds: -1}"),
              HasSubstr("is not a number"));
  EXPECT_THAT(refusal("kubernetes: {slots: 2}"), HasSubstr("the option --slots"));
  EXPECT_THAT(refusal("kubernetes: {allow: [imag]}"), HasSubstr("did you mean image?"));
  EXPECT_THAT(refusal("kubernetes: {allow: image}"), HasSubstr("not a list"));
  EXPECT_TRUE(pod_defaults_from(Value()));
}

}  // namespace
}  // namespace flame::autoscaler::kubernetes

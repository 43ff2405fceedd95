// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/kubernetes/fleet.hpp"

#include <gmock/gmock.h>

#include "autoscaler/kubernetes/text.hpp"

namespace flame::autoscaler::kubernetes {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

DeploymentSeen deployment(uint64_t replicas, const std::string& version = "1") {
  return {.name = "flame-pi",
          .uid = "u",
          .version = version,
          .application = "pi",
          .replicas = replicas};
}
PodSeen pod(const std::string& name, bool marked = false) {
  return {.name = name,
          .uid = name,
          .version = "1",
          .application = "pi",
          .deployment = "flame-pi",
          .marked = marked};
}

struct FleetTest : ::testing::Test {
  Fleet fleet;
  // "name", with '-' where it is leaving and '!' where it ended.
  std::vector<std::string> shown() const {
    std::vector<std::string> all;
    for (const auto& one : fleet.provided())
      all.push_back((one.leaving ? "-" : one.exits > 0 ? "!" : "") + one.id);
    return all;
  }
};

TEST_F(FleetTest, WhatWasAskedForCountsOnceAlsoBeforeItsPodExists) {
  fleet.put_deployment(deployment(3));
  EXPECT_THAT(shown(), ElementsAre("flame-pi/1", "flame-pi/2", "flame-pi/3"));
  fleet.put_pod(pod("a"));
  EXPECT_THAT(shown(), UnorderedElementsAre("a", "flame-pi/1", "flame-pi/2"));
  fleet.put_pod(pod("a"));  // a duplicate event
  EXPECT_THAT(shown(), UnorderedElementsAre("a", "flame-pi/1", "flame-pi/2"));
  EXPECT_EQ(fleet.provided()[0].application, "pi");
}

TEST_F(FleetTest, APodThatGoesOrHasEndedIsReplaced) {
  fleet.put_deployment(deployment(2));
  auto going = pod("going"), over = pod("over");
  going.leaving = true;
  over.over = true;
  fleet.put_pod(going);
  fleet.put_pod(over);
  fleet.put_pod(pod("new"));
  EXPECT_THAT(shown(), UnorderedElementsAre("-going", "new", "flame-pi/1"));
}

TEST_F(FleetTest, WhatTheControllerIsAboutToDeleteIsLeavingMarkedOnesFirst) {
  fleet.put_deployment(deployment(1));
  fleet.put_pod(pod("a"));
  fleet.put_pod(pod("b", true));
  EXPECT_THAT(shown(), UnorderedElementsAre("a", "-b"));
  fleet.put_deployment(deployment(0, "2"));
  EXPECT_THAT(shown(), UnorderedElementsAre("-a", "-b"));
}

TEST_F(FleetTest, AnOldEventDoesNotUndoAWriteOfOurs) {
  fleet.put_deployment(deployment(0, "9"));
  fleet.scaled("flame-pi", 2, "10");
  fleet.put_deployment(deployment(0, "9"));
  EXPECT_EQ(fleet.deployment("flame-pi")->replicas, 2u);
  fleet.put_deployment(deployment(1, "11"));
  EXPECT_EQ(fleet.deployment("flame-pi")->replicas, 1u);
  fleet.scaled("flame-pi", 5, "10");
  EXPECT_EQ(fleet.deployment("flame-pi")->replicas, 1u);
  auto other = deployment(7, "3");
  other.uid = "created anew";
  fleet.put_deployment(other);
  EXPECT_EQ(fleet.deployment("flame-pi")->replicas, 7u);
}

TEST_F(FleetTest, AnyNumberOfReplicasIsListedInBounds) {
  fleet.put_deployment(deployment(2'147'483'647));
  EXPECT_EQ(fleet.provided().size(), 100'000u);
}

TEST_F(FleetTest, AListReplacesWhatWasKnown) {
  fleet.put_deployment(deployment(2));
  fleet.put_pod(pod("a"));
  fleet.put_pod(pod("b"));
  fleet.keep_pods({"b"});
  EXPECT_THAT(shown(), UnorderedElementsAre("b", "flame-pi/1"));
  fleet.keep_deployments({});
  EXPECT_THAT(shown(), ElementsAre("-b")) << "the collector takes it";
}

TEST_F(FleetTest, OnlyWhatIsEmptyAndUnregisteredIsAbandoned) {
  fleet.put_deployment(deployment(1));
  EXPECT_THAT(fleet.abandoned({}), IsEmpty()) << "it may have work";
  fleet.put_deployment(deployment(0, "2"));
  EXPECT_THAT(fleet.abandoned({"pi"}), IsEmpty());
  fleet.put_pod(pod("drains"));
  EXPECT_THAT(fleet.abandoned({}), IsEmpty());
  fleet.drop_pod("drains");
  EXPECT_EQ(fleet.abandoned({}).size(), 1u);
}

Shrinking of(uint64_t replicas, const std::vector<PodSeen>& pods,
             const std::set<std::string>& members) {
  return shrink(deployment(replicas), pods, members);
}

TEST(Shrink, MarksThoseThatGoAndNoOthers) {
  auto plan = of(3, {pod("a"), pod("b"), pod("c", true)}, {"a"});
  EXPECT_EQ(plan.replicas, 2u);
  EXPECT_THAT(plan.mark, ElementsAre("a"));
  EXPECT_THAT(plan.unmark, ElementsAre("c"));
}

TEST(Shrink, WhereAllGoNoneNeedsAMark) {
  auto plan = of(2, {pod("a"), pod("b")}, {"a", "b"});
  EXPECT_EQ(plan.replicas, 0u);
  EXPECT_THAT(plan.mark, IsEmpty());
}

TEST(Shrink, WhatWentMeanwhileIsNotTakenOffAgain) {
  auto going = pod("a");
  going.leaving = true;
  EXPECT_EQ(of(2, {going, pod("b"), pod("c")}, {"a"}).replicas, 2u);
  EXPECT_EQ(of(2, {pod("b"), pod("c")}, {"a"}).replicas, 2u);
  // Scaled down already, the controller has not come to it yet.
  EXPECT_EQ(of(1, {pod("a", true), pod("b")}, {"a"}).replicas, 1u);
}

TEST(Shrink, ThoseThatDoNotExistYet) {
  EXPECT_EQ(of(3, {pod("a")}, {"flame-pi/1", "flame-pi/2"}).replicas, 1u);
  auto plan = of(3, {pod("a"), pod("b"), pod("c")}, {"flame-pi/1"});
  EXPECT_EQ(plan.replicas, 3u) << "its pod is there now";
  EXPECT_EQ(of(3, {pod("a")}, {"a", "flame-pi/1"}).replicas, 1u);
  EXPECT_EQ(of(2, {}, {"refused"}).replicas, 2u);
}

PodSeen pod_with(const std::string& status) {
  return PodSeen::from(*read_json(
      R"({"metadata":{"name":"a","uid":"u","resourceVersion":"5","labels":{"flame/deployment":)"
      R"("flame-pi"},"annotations":{"flame/application":"Pi"}},"status":)" +
      status + "}"));
}

TEST(PodSeen, WhyItDoesNotRun) {
  auto runs = pod_with(R"({"phase":"Running","containerStatuses":[{"restartCount":3,)"
                       R"("state":{"running":{}},"lastState":{"terminated":{"exitCode":137,)"
                       R"("reason":"OOMKilled"}}}]})");
  EXPECT_EQ(runs.exits, 0u) << "it may be busy, whatever was before";
  EXPECT_EQ(runs.trouble, "ended with exit code 137 (OOMKilled)");
  EXPECT_EQ(runs.application, "Pi");
  EXPECT_TRUE(runs.lives());
  auto image =
      pod_with(R"({"phase":"Pending","containerStatuses":[{"restartCount":0,"state":)"
               R"({"waiting":{"reason":"ImagePullBackOff","message":"no such image"}}}]})");
  EXPECT_EQ(image.exits, 1u);
  EXPECT_EQ(image.trouble, "does not start: ImagePullBackOff: no such image");
  auto crash = pod_with(R"({"phase":"Running","containerStatuses":[{"restartCount":2,"state":)"
                        R"({"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":)"
                        R"({"exitCode":1,"reason":"Error"}}}]})");
  EXPECT_EQ(crash.exits, 1u);
  EXPECT_EQ(crash.trouble, "ended with exit code 1 (Error)");
  auto creating = pod_with(R"({"phase":"Pending","containerStatuses":[{"state":{"waiting":)"
                           R"({"reason":"ContainerCreating"}}}]})");
  EXPECT_EQ(creating.exits, 0u);
  EXPECT_EQ(creating.trouble, "");
  auto homeless = pod_with(R"({"phase":"Pending","conditions":[{"type":"PodScheduled","status":)"
                           R"("False","message":"0/3 nodes: too little cpu"}]})");
  EXPECT_EQ(homeless.trouble, "has no node: 0/3 nodes: too little cpu");
  EXPECT_TRUE(pod_with(R"({"phase":"Failed"})").over);
}

TEST(DeploymentSeen, WhatItSays) {
  auto seen = DeploymentSeen::from(*read_json(
      R"({"metadata":{"name":"d","uid":"u","resourceVersion":"5","deletionTimestamp":"now",)"
      R"("annotations":{"flame/application":"Pi","flame/spec-hash":"h"}},"spec":{"replicas":4},)"
      R"("status":{"conditions":[{"type":"ReplicaFailure","status":"True","message":"quota"}]}})"));
  EXPECT_EQ(seen.replicas, 4u);
  EXPECT_EQ(seen.hash, "h");
  EXPECT_TRUE(seen.leaving);
  EXPECT_EQ(seen.trouble, "is not created: quota");
}

}  // namespace
}  // namespace flame::autoscaler::kubernetes

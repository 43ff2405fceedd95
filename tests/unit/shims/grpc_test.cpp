// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <gmock/gmock.h>

#include "proto/limits.hpp"
#include "tests/unit/shims/shim_fixture.hpp"

namespace flame::shims::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class GrpcShimTest : public ShimTest {
 protected:
  void launch(const std::string& mode = "", uint64_t concurrency = 1) {
    proto::Application application;
    application.shim = "grpc";
    application.command = ODD_GRPC_SERVICE_PATH;
    application.arguments = {mode};
    application.environment = {{"PYTHONPATH", INSTANCE_PB2_FOLDER}};
    application.concurrency = concurrency;
    start(application);
  }
  void enter(const std::string& common = "") {
    shim_->enter({"session-1", "test", proto::Bytes::copy(common)});
    auto entered = next<Entered>();
    EXPECT_TRUE(entered.ok) << entered.message;
  }
  void launch_and_enter(const std::string& mode = "", uint64_t concurrency = 1) {
    launch(mode, concurrency);
    enter();
  }
  void nothing_else() {
    loop_.turn(0);
    EXPECT_TRUE(events_.empty());
  }
};

TEST_F(GrpcShimTest, AnswersAFrameAndEntersAnotherSession) {
  launch();
  enter("first");
  shim_->invoke({frame(5, {"a", "", "common"})});
  auto results = next<Results>();
  EXPECT_EQ(results.first, 5u);
  EXPECT_EQ(results.count, 3u);
  EXPECT_THAT(outputs(results), ElementsAre("a", "", "first"));
  auto pid = run_one("pid", 8);
  shim_->leave();
  next<Left>();
  enter("second");
  EXPECT_EQ(run_one("common", 1), "second");
  EXPECT_EQ(run_one("pid", 2), pid);
  shim_->terminate();
  EXPECT_THAT(next<Exited>().reason, HasSubstr("signal 15"));
  nothing_else();
}

}  // namespace
}  // namespace flame::shims::test

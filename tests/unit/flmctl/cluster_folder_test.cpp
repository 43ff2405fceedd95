// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/cluster_folder.hpp"

#include <gmock/gmock.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "client/flmctl/supervisor_messages.hpp"

namespace flame::flmctl {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class ClusterFolderTest : public ::testing::Test {
 protected:
  ClusterFolderTest() {
    char name[] = "/tmp/flame-folder-test-XXXXXX";
    top_ = mkdtemp(name);
  }
  ~ClusterFolderTest() override { fs::remove_all(top_); }
  std::string top_;
};

ClusterStatus example() {
  ClusterStatus status{.state = "running",
                       .version = "0.1.0",
                       .data = "/data \"quoted\"",
                       .endpoint = "tcp://127.0.0.1:7700",
                       .executors_endpoint = "tcp://127.0.0.1:7701",
                       .http = "http://127.0.0.1:7780",
                       .redis = "unix:///data/redis.sock",
                       .ring = "/dev/shm/ring",
                       .boot_id = "b",
                       .supervisor_pid = 10,
                       .settings = {.port = 7700, .slots = 2, .executors = 1}};
  status.processes = {
      {.name = "redis", .state = "running", .pid = 11, .start_ticks = 5, .started_ms = 7},
      {.name = "broker", .state = "backoff", .restarts = 3, .last_exit = "exited with code 1"}};
  return status;
}

TEST_F(ClusterFolderTest, IsPrivateAndComplete) {
  auto folder = ClusterFolder::make(top_ + "/a/b/");
  ASSERT_TRUE(folder) << folder.error().message;
  EXPECT_EQ(folder->path(), top_ + "/a/b");
  struct stat found {};
  ASSERT_EQ(stat(folder->path().c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0700u);
  EXPECT_TRUE(fs::is_directory(folder->redis_folder()));
}

TEST_F(ClusterFolderTest, APathThatNoFolderCanHaveIsNamed) {
  std::string name(300, 'x');
  auto folder = ClusterFolder::make(top_ + "/" + name + "/data");
  ASSERT_FALSE(folder);
  EXPECT_NE(folder.error().message.find(name + "/data: File name too long"), std::string::npos)
      << folder.error().message;
  EXPECT_FALSE(ClusterFolder::make(top_ + "/" + name));
}

TEST_F(ClusterFolderTest, AFileInItsPlaceIsRefused) {
  std::ofstream(top_ + "/file") << "x";
  auto folder = ClusterFolder::make(top_ + "/file");
  ASSERT_FALSE(folder);
  EXPECT_THAT(folder.error().message, HasSubstr("not a folder"));
}

TEST_F(ClusterFolderTest, OnlyOneHoldsTheLock) {
  auto folder = ClusterFolder::make(top_ + "/a");
  auto first = folder->lock();
  ASSERT_TRUE(first);
  EXPECT_GE(*first, 0);
  EXPECT_EQ(*folder->lock(), -1);
  close(*first);
  auto again = folder->lock();
  EXPECT_GE(*again, 0);
  close(*again);
}

TEST_F(ClusterFolderTest, ReadsBackWhatItWrote) {
  auto folder = ClusterFolder::make(top_ + "/a");
  ASSERT_TRUE(folder->write_cluster(example()));
  EXPECT_EQ(*folder->read_cluster(), example());
}

TEST_F(ClusterFolderTest, PidFilesFollowTheProcesses) {
  auto folder = ClusterFolder::make(top_ + "/a");
  auto status = example();
  ASSERT_TRUE(folder->write_cluster(status));
  EXPECT_EQ(read_text_file(folder->path() + "/run/redis.pid"), "11\n");
  EXPECT_FALSE(fs::exists(folder->path() + "/run/broker.pid"));
  status.processes[0].pid = 0;
  status.processes[1].pid = 12;
  ASSERT_TRUE(folder->write_cluster(status));
  EXPECT_FALSE(fs::exists(folder->path() + "/run/redis.pid"));
  EXPECT_EQ(read_text_file(folder->path() + "/run/broker.pid"), "12\n");
  folder->remove_cluster();
  EXPECT_FALSE(fs::exists(folder->path() + "/run/broker.pid"));
  EXPECT_EQ(folder->read_cluster().error().code, proto::Code::kNotFound);
}

TEST_F(ClusterFolderTest, AClusterFileThatIsNoneIsAnErrorThatNamesIt) {
  auto folder = ClusterFolder::make(top_ + "/a");
  for (const char* text : {"nonsense", "[1]", "{\"settings\": 3}", "{\"processes\": [7]}"}) {
    std::ofstream(folder->path() + "/cluster.json") << text;
    auto status = folder->read_cluster();
    ASSERT_FALSE(status) << text;
    EXPECT_THAT(status.error().message, HasSubstr("cluster.json")) << text;
  }
}

TEST(ShortSocketFolder, IsShortStableAndDiffersByPath) {
  std::string one = short_socket_folder(std::string(300, 'x'), "", 1000);
  EXPECT_LT(one.size() + 20, kSocketPathMax);
  EXPECT_EQ(one, short_socket_folder(std::string(300, 'x'), "", 1000));
  EXPECT_NE(one, short_socket_folder(std::string(301, 'x'), "", 1000));
  EXPECT_THAT(short_socket_folder("d", "/run/user/1000", 1000), HasSubstr("/run/user/1000/flame-"));
}

TEST(ControlMessages, ComeBackAsTheyWere) {
  ControlRequest request{.verb = "up", .executors = 3, .port = 0, .appendfsync = "always"};
  EXPECT_EQ(*request_from_json(to_json(request)), request);
  EXPECT_EQ(*request_from_json("{\"verb\":\"down\",\"later\":1}"), ControlRequest{.verb = "down"});
  EXPECT_FALSE(request_from_json("{\"executors\":\"many\"}"));
  ControlReply reply{.result = "failed", .message = "m", .lines = {"a", "b"}, .status = example()};
  EXPECT_EQ(*reply_from_json(to_json(reply)), reply);
}

TEST(BrokerAnswers, AreReadOrRefused) {
  auto ready = ready_file_from_json("{\"endpoint\":\"tcp://127.0.0.1:1\",\"pid\":7}");
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->pid, 7);
  EXPECT_EQ(ready->replaced, "");
  EXPECT_EQ(ready_file_from_json("{\"pid\":7,\"replaced\":\"why\"}")->replaced, "why");
  EXPECT_FALSE(ready_file_from_json(""));
  auto ids = executors_from_json(
      "[{\"id\":\"executor-1\",\"state\":\"Connected\"},{\"id\":\"executor-2\",\"state\":\"Lost\"}"
      "]");
  ASSERT_TRUE(ids);
  EXPECT_THAT(*ids, ElementsAre("executor-1"));
  EXPECT_FALSE(executors_from_json("404 page not found"));
}

}  // namespace
}  // namespace flame::flmctl

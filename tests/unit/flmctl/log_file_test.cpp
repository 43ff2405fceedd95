// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/log_file.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "client/flmctl/cluster_folder.hpp"

namespace flame::flmctl {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

class LogFileTest : public ::testing::Test {
 protected:
  LogFileTest() {
    char name[] = "/tmp/flame-log-test-XXXXXX";
    top_ = mkdtemp(name);
    path_ = top_ + "/log";
  }
  ~LogFileTest() override { fs::remove_all(top_); }
  std::string top_, path_;
};

TEST_F(LogFileTest, LastLinesAreThoseOfThisStartAndSafeToShow) {
  std::ofstream(path_) << "before\n";
  uint64_t offset = fs::file_size(path_);
  EXPECT_THAT(last_lines(path_, offset, 3), IsEmpty());
  std::ofstream(path_, std::ios::app) << "one\ntwo\n\nthr\x1b"
                                      << "ee\nfour";
  EXPECT_THAT(last_lines(path_, offset, 3), ElementsAre("two", "thr\\x1bee", "four"));
  EXPECT_THAT(last_lines(path_, 1 << 20, 9),
              ElementsAre("before", "one", "two", "thr\\x1bee", "four"));
  std::ofstream(path_) << std::string(20'000, 'y') << "\nlast\n";
  EXPECT_THAT(last_lines(path_, 0, 3), ElementsAre("last"));
  EXPECT_THAT(last_lines(top_ + "/none", 0, 3), IsEmpty());
}

TEST_F(LogFileTest, BelowItsBoundItIsLeftAlone) {
  std::ofstream(path_) << "0123456789";
  EXPECT_FALSE(keep_log_bounded(path_, 10));
  EXPECT_EQ(read_text_file(path_), "0123456789");
  EXPECT_FALSE(fs::exists(path_ + ".1"));
  EXPECT_FALSE(keep_log_bounded(top_ + "/none", 10));
}

TEST_F(LogFileTest, AFullOneBeginsAnewUnderItsWriter) {
  // As a process has it: opened once, for appending.
  int writer = open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  ASSERT_EQ(write(writer, "first 0123456789", 16), 16);
  EXPECT_TRUE(keep_log_bounded(path_, 10));
  EXPECT_EQ(read_text_file(path_ + ".1"), "0123456789");
  ASSERT_EQ(write(writer, "next", 4), 4);
  EXPECT_EQ(read_text_file(path_), "next");
  ASSERT_EQ(write(writer, "abcdefghij", 10), 10);
  EXPECT_TRUE(keep_log_bounded(path_, 10));
  EXPECT_EQ(read_text_file(path_ + ".1"), "abcdefghij");
  EXPECT_EQ(fs::file_size(path_), 0u);
  EXPECT_EQ(fs::status(path_ + ".1").permissions(), fs::perms::owner_read | fs::perms::owner_write);
  close(writer);
}

TEST_F(LogFileTest, TheBoundHoldsAlsoWhereNoCopyIsPossible) {
  std::ofstream(path_) << "0123456789";
  fs::create_directory(path_ + ".1");
  EXPECT_TRUE(keep_log_bounded(path_, 5));
  EXPECT_EQ(fs::file_size(path_), 0u);
}

}  // namespace
}  // namespace flame::flmctl

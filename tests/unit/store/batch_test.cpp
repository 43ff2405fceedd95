// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/store/batch.hpp"

#include <gtest/gtest.h>

#include "broker/store/sent_batch.hpp"
#include "proto/elements.hpp"

namespace flame::broker {
namespace {

using proto::Bytes;
using proto::TaskState;

/// Commands as words, one a line; lengths are checked on the way.
std::string words_of(std::string_view bytes, size_t replies) {
  std::string lines;
  size_t commands = 0;
  auto number = [&](char kind) {
    EXPECT_EQ(bytes.at(0), kind);
    size_t value = std::stoul(std::string(bytes.substr(1)));
    bytes.remove_prefix(bytes.find("\r\n") + 2);
    return value;
  };
  for (; !bytes.empty(); commands++) {
    size_t count = number('*');
    for (size_t i = 0; i < count; i++) {
      size_t size = number('$');
      lines += std::string(bytes.substr(0, size)) + (i + 1 < count ? " " : "\n");
      EXPECT_EQ(bytes.substr(size, 2), "\r\n");
      bytes.remove_prefix(size + 2);
    }
  }
  EXPECT_EQ(commands, replies);
  return lines;
}

std::string encoded(const Batch& batch, BatchEncoder& encoder) {
  std::string bytes(BatchEncoder::size_max(batch), '?');
  auto size = encoder.encode(batch, bytes.data());
  EXPECT_LE(size.bytes, bytes.size());
  bytes.resize(size.bytes);
  return words_of(bytes, size.replies);
}
std::string encoded(std::vector<StoreOp> ops) {
  BatchEncoder encoder;
  return encoded({7, std::move(ops)}, encoder);
}

constexpr std::string_view kFence =
    "HSET flame:meta batch 7\nEXEC\nWATCH flame:meta\nHMGET flame:meta epoch batch\n";
std::string framed(const std::string& lines) { return "MULTI\n" + lines + std::string(kFence); }

TEST(Batch, IsOneNumberedTransactionAndTheNextOnesFence) { EXPECT_EQ(encoded({}), framed("")); }

TEST(Batch, JoinsCommandsOnTheSameKey) {
  EXPECT_EQ(encoded({PutState{"s", {1, 2}, TaskState::kSucceed}, DropInput{"s", {{1, 2}}},
                     PutState{"s", {3, 2}, TaskState::kSucceed}, DropInput{"s", {{3, 1}, {4, 1}}},
                     PutFields{"s", {{"tasks", "4"}}}}),
            framed("HSET flame:{s}:session tasks 4\n"
                   "SETRANGE flame:{s}:state:0 0 SSSS\n"
                   "HDEL flame:{s}:input:0 1-2 3 4\n"));
}

TEST(Batch, KeepsTheOrderOfLettersThatOverlap) {
  EXPECT_EQ(encoded({PutState{"s", {1, 2}, TaskState::kPending},
                     PutState{"s", {2, 1}, TaskState::kRunning},
                     PutState{"s", {1, 1}, TaskState::kCancelled}}),
            framed("SETRANGE flame:{s}:state:0 0 PP\n"
                   "SETRANGE flame:{s}:state:0 1 R\n"
                   "SETRANGE flame:{s}:state:0 0 C\n"));
}

TEST(Batch, KeepsTheOrderOfASessionThatDropsThings) {
  EXPECT_EQ(encoded({PutState{"s", {1, 1}, TaskState::kSucceed}, TrimDone{"s", 3},
                     DropOutput{"s", {{5, 4}}}, PutState{"s", {2, 1}, TaskState::kSucceed}}),
            framed("SETRANGE flame:{s}:state:0 0 S\n"
                   "LTRIM flame:{s}:done 3 -1\n"
                   "HDEL flame:{s}:output:0 5-8\n"
                   "SETRANGE flame:{s}:state:0 1 S\n"));
}

TEST(Batch, NeighboursInTwoSegmentsAreTwoCommands) {
  EXPECT_EQ(encoded({PutState{"s", {proto::kSegmentTasks, 1}, TaskState::kPending},
                     PutState{"s", {proto::kSegmentTasks + 1, 1}, TaskState::kPending}}),
            framed("SETRANGE flame:{s}:state:0 1048575 P\n"
                   "SETRANGE flame:{s}:state:1 0 P\n"));
}

TEST(Batch, AnInputIsAnArrayOfItsPieces) {
  auto words =
      encoded({PutInput{"s", {1, 20}, {Bytes::copy("\xc4\x01x"), Bytes::copy("\xc4\x01y")}}});
  EXPECT_EQ(words, framed(std::string(
                       "HSET flame:{s}:input:0 1-20 \xdc\x00\x14\xc4\x01x\xc4\x01y\n", 38)));
}

TEST(Batch, AnOutputDecodesAndItsRunIsDone) {
  std::string payload;
  proto::append_element(payload, "result");
  proto::OutputHead head{"ex", 2, 5, {}, {}};
  std::string bytes(4096, '?');
  Batch batch{7,
              {PutOutput{"s", {9, 1}, proto::encode_output_head(head, 1), Bytes::copy(payload)}}};
  auto size = BatchEncoder().encode(batch, bytes.data());
  auto words = words_of(std::string_view(bytes).substr(0, size.bytes), size.replies);
  auto value = words.substr(words.find(" 9 ") + 3);
  value.resize(value.find("\nRPUSH"));
  auto stored = proto::decode_output(value, 1);
  ASSERT_TRUE(stored) << stored.error().message;
  EXPECT_EQ(stored->head, head);
  EXPECT_EQ(stored->elements, payload);
  EXPECT_NE(words.find("\nRPUSH flame:{s}:done 9\n"), words.npos);
}

TEST(Batch, EmptyValuesRemove) {
  EXPECT_EQ(encoded({PutSubmits{"s", "c", ""}, PutReader{"s", "r", ""},
                     PutAttempts{"s", {{4, 0}, {5, 2}}}, PutExecutor{"ex", ""}, DropInput{"s", {}},
                     PutAttempts{"s", {}}, PutFields{"s", {}}}),
            framed("HDEL flame:executors ex\n"
                   "HDEL flame:{s}:submits c\n"
                   "HDEL flame:{s}:readers r\n"
                   "HSET flame:{s}:attempts 5 2\n"
                   "HDEL flame:{s}:attempts 4\n"));
}

TEST(Batch, EncoderForgetsTheBatchBefore) {
  BatchEncoder encoder;
  encoded({1,
           {PutState{"a", {1, 1}, TaskState::kPending}, TrimDone{"a", 1},
            PutFields{"b", {{"x", "y"}}}}},
          encoder);
  EXPECT_EQ(encoded({7, {PutFields{"b", {{"x", "y"}}}}}, encoder),
            framed("HSET flame:{b}:session x y\n"));
}

TEST(Batch, OverfillingIsTheSameInAScript) {
  std::string bytes(4096, '?');
  auto size = BatchEncoder().encode({7, {PutFields{"s", {{"x", "EXEC"}}}}}, bytes.data());
  auto words = words_of(overfilling(std::string_view(bytes).substr(0, size.bytes), "1-a", "6"),
                        kOverfillingReplies);
  EXPECT_TRUE(words.starts_with("UNWATCH\nEVAL #!lua flags=allow-oom\n")) << words;
  EXPECT_EQ(words.substr(words.find(" 1 flame:meta")),
            " 1 flame:meta 1-a 6 4 HSET flame:{s}:session x EXEC 4 HSET flame:meta batch 7\n"
            "WATCH flame:meta\nHMGET flame:meta epoch batch\n");
}

TEST(Batch, NamesTheSessionOfACommand) {
  std::string bytes(4096, '?');
  Batch batch{7,
              {PutExecutor{"ex", "row"}, PutFields{"one", {{"x", "$5\r\nvalue"}}},
               PutFields{"two", {{"x", "y"}}}}};
  auto size = BatchEncoder().encode(batch, bytes.data());
  std::string_view view = std::string_view(bytes).substr(0, size.bytes);
  EXPECT_EQ(session_of_command(view, 0), "");
  EXPECT_EQ(session_of_command(view, 1), "one");
  EXPECT_EQ(session_of_command(view, 2), "two");
  EXPECT_EQ(session_of_command(view, 3), "");
  EXPECT_EQ(session_of_command(view, 300), "");
  EXPECT_EQ(session_of_command("garbage", 0), "");
}

}  // namespace
}  // namespace flame::broker

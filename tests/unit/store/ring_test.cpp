// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/store/ring.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>

#include <cstring>
#include <filesystem>
#include <memory>
#include <random>

#include "broker/store/ring_file.hpp"

namespace flame::broker {
namespace {

constexpr Epoch kEpoch{4, 0x99};

struct Memory {
  explicit Memory(size_t size = Ring::kBytesMin)
      : bytes(static_cast<char*>(aligned_alloc(4096, size)), free), size(size) {
    std::memset(bytes.get(), 0, size);
  }
  std::span<char> span() { return {bytes.get(), size}; }
  std::unique_ptr<char, void (*)(void*)> bytes;
  size_t size;
};

std::string text_of(uint64_t number, size_t size) {
  std::string text(size, static_cast<char>('a' + number % 26));
  return std::to_string(number) + ":" + text;
}

bool put(Ring& ring, uint64_t number, size_t size = 100) {
  auto text = text_of(number, size);
  char* to = ring.reserve(text.size() + 50);
  if (to == nullptr) return false;
  std::copy(text.begin(), text.end(), to);
  ring.commit(number, text.size(), number + 4);
  return true;
}

void expect_holds(const Ring& ring, uint64_t first, uint64_t last, size_t size = 100) {
  EXPECT_EQ(ring.state().first, first);
  EXPECT_EQ(ring.state().last, last);
  EXPECT_FALSE(ring.find(first - 1));
  EXPECT_FALSE(ring.find(last + 1));
  for (uint64_t number = first; number <= last; number++) {
    auto record = ring.find(number);
    ASSERT_TRUE(record) << number;
    EXPECT_EQ(record->bytes, text_of(number, size)) << number;
    EXPECT_EQ(record->replies, number + 4);
  }
}

struct RingTest : testing::Test {
  Memory memory;
  Ring fresh(uint64_t next = 1, uint64_t nonce = 77) {
    Ring ring(memory.span());
    ring.reset("line", kEpoch, next, nonce);
    return ring;
  }
};

TEST_F(RingTest, UntouchedMemoryIsNoRing) { EXPECT_FALSE(Ring(memory.span()).state().found); }

TEST_F(RingTest, AnEmptyOneRemembersWhoseItIsAndHowFar) {
  { fresh(8).set_epoch({5, 1}); }
  auto state = Ring(memory.span()).state();
  EXPECT_TRUE(state.found);
  EXPECT_EQ(state.lineage, "line");
  EXPECT_EQ(state.epoch, (Epoch{5, 1}));
  EXPECT_EQ(state.first, 8u);
  EXPECT_EQ(state.last, 7u);
}

TEST_F(RingTest, WhatWasCommittedIsFoundByTheNextProcess) {
  {
    Ring ring = fresh();
    for (uint64_t n = 1; n <= 5; n++) put(ring, n);
    ring.free_to(2);
  }
  Ring ring(memory.span());
  expect_holds(ring, 3, 5);
  EXPECT_FALSE(ring.torn());
  EXPECT_TRUE(put(ring, 6));
  expect_holds(ring, 3, 6);
}

TEST_F(RingTest, WhatWasOnlyReservedIsNotThere) {
  {
    Ring ring = fresh();
    put(ring, 1);
    std::memcpy(ring.reserve(100), "half", 4);
  }
  expect_holds(Ring(memory.span()), 1, 1);
}

TEST_F(RingTest, ATornLastRecordIsRecognised) {
  {
    Ring ring = fresh();
    put(ring, 1);
    put(ring, 2);
    const_cast<char*>(ring.find(2)->bytes.data())[50] ^= 1;
  }
  Ring ring(memory.span());
  EXPECT_TRUE(ring.torn());
  expect_holds(ring, 1, 1);
  EXPECT_TRUE(put(ring, 2));  // its place is taken again
  expect_holds(Ring(memory.span()), 1, 2);
}

TEST_F(RingTest, FullIsFullAndNothingIsOverwritten) {
  Ring ring = fresh();
  uint64_t n = 1;
  while (put(ring, n, 10'000)) n++;
  EXPECT_GT(n, 90u);
  expect_holds(ring, 1, n - 1, 10'000);
  EXPECT_FALSE(put(ring, n, 10'000));
  ring.free_to(3);
  EXPECT_TRUE(put(ring, n, 10'000));
  expect_holds(ring, 4, n, 10'000);
  expect_holds(Ring(memory.span()), 4, n, 10'000);
}

TEST_F(RingTest, EmptyItStartsAtTheFrontAgain) {
  Ring ring = fresh();
  const char* front = nullptr;
  for (uint64_t n = 1; n <= 1000; n++) {
    ASSERT_TRUE(put(ring, n, 10'000));
    if (front == nullptr) front = ring.find(n)->bytes.data();
    EXPECT_EQ(ring.find(n)->bytes.data(), front);
    EXPECT_TRUE(ring.free_to(n));
    EXPECT_EQ(ring.used_bytes(), 0u);
  }
  expect_holds(Ring(memory.span()), 1001, 1000);
}

TEST_F(RingTest, AnEarlierRoundIsNotTakenForThisOne) {
  {
    Ring ring = fresh(1, 77);
    for (uint64_t n = 1; n <= 5; n++) put(ring, n);
  }
  { fresh(1, 78); }  // the same numbers will come again, of another lineage
  expect_holds(Ring(memory.span()), 1, 0);
}

TEST_F(RingTest, ABatchThatIsNotThereCannotBeReplayed) {
  Ring ring = fresh();
  put(ring, 1);
  EXPECT_TRUE(ring.too_large(2 << 20));
  EXPECT_TRUE(ring.commit_hole(2));
  put(ring, 3);
  for (const auto& state : {ring.state(), Ring(memory.span()).state()}) {
    EXPECT_FALSE(state.has(1, 3));
    EXPECT_FALSE(state.has(2, 3));
    EXPECT_TRUE(state.has(3, 3));
    EXPECT_EQ(state.last, 3u);
  }
}

// Random life with a kill at every step: what was committed and not freed is always found, and
// nothing else.
TEST_F(RingTest, SurvivesAKillAtAnyTime) {
  auto seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  fresh();
  uint64_t first = 1, next = 1;
  std::map<uint64_t, size_t> sizes;
  for (int step = 0; step < 3000; step++) {
    Ring ring(memory.span());
    auto state = ring.state();
    ASSERT_EQ(state.first, first);
    ASSERT_EQ(state.last, next - 1);
    for (uint64_t n = first; n < next; n++) ASSERT_EQ(ring.find(n)->bytes, text_of(n, sizes[n]));
    if (random() % 3 != 0) {
      sizes[next] = random() % (step % 2 == 0 ? 100'000 : 300);
      if (put(ring, next, sizes[next])) next++;
    } else if (first < next) {
      first += random() % (next - first + 1);
      ring.free_to(first - 1);
    }
  }
}

// Whatever stands there, it is read without harm.
TEST_F(RingTest, GarbageIsReadWithoutHarm) {
  auto seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 300; round++) {
    Ring ring = fresh();
    for (uint64_t n = 1; n <= 20; n++) put(ring, n, random() % 60'000);
    for (int i = 0; i < 5; i++) memory.span()[random() % memory.size] = static_cast<char>(random());
    if (round % 2 == 0) memory.span()[random() % 8192] = static_cast<char>(random());
    Ring read(memory.span());
    auto state = read.state();
    if (!state.found) continue;
    for (uint64_t n = state.first; n <= state.last; n++) ASSERT_TRUE(read.find(n));
  }
}

struct RingFileTest : testing::Test {
  std::string folder = (std::filesystem::temp_directory_path() / "flame-ring-XXXXXX").string();
  void SetUp() override { ASSERT_NE(mkdtemp(folder.data()), nullptr); }
  void TearDown() override { std::filesystem::remove_all(folder); }
};

TEST_F(RingFileTest, OutlivesItsProcessAndIsLockedWhileUsed) {
  auto path = RingFile::path_of(folder, "flame", "/data");
  {
    auto file = RingFile::open(path, 1 << 20);
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_FALSE((*file)->ring().state().found);
    (*file)->ring().reset("line", kEpoch, 1, 5);
    put((*file)->ring(), 1);
    auto second = RingFile::open(path, 1 << 20);
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().message.find("another broker"), std::string::npos);
  }
  auto file = RingFile::open(path, 4 << 20);
  ASSERT_TRUE(file) << file.error().message;
  expect_holds((*file)->ring(), 1, 1);
  (*file)->remove();
  EXPECT_FALSE(std::filesystem::exists(path));
}

constexpr uint64_t kMiB = 1 << 20;
constexpr int64_t kSecond = proto::kUsPerSecond;

/// A ring of 64 MiB in a file, and what it costs the filesystem.
struct RingMemoryTest : RingFileTest {
  void SetUp() override {
    RingFileTest::SetUp();
    open();
    file->ring().reset("line", kEpoch, 1, 5);
  }
  void open() {
    file.reset();
    auto opened = RingFile::open(path(), 64 * kMiB);
    ASSERT_TRUE(opened) << opened.error().message;
    file = std::move(*opened);
  }
  std::string path() const { return folder + "/ring"; }
  /// A file with holes also has a block or two of the filesystem's own, which says where its parts
  /// lie: 4 KiB each on ext4.
  static constexpr uint64_t kOwnBlocks = 64 * 1024;
  uint64_t on_disk() const {
    struct stat info {};
    EXPECT_EQ(stat(path().c_str(), &info), 0);
    return static_cast<uint64_t>(info.st_blocks) * 512;
  }
  bool put_next(uint64_t size) {
    if (file->reserve(size + 50) == nullptr || !put(file->ring(), next, size)) return false;
    sizes[next++] = size;
    return true;
  }
  /// Freed up to all but the newest: a serving broker's ring is never empty.
  void free_all_but_newest() { file->ring().free_to(next - 2); }
  void pass(int64_t seconds) {
    for (int64_t i = 0; i < seconds; i++) file->give_back(now += kSecond);
  }
  void expect_complete(uint64_t first) {
    ASSERT_EQ(file->ring().state().first, first);
    ASSERT_EQ(file->ring().state().last, next - 1);
    for (uint64_t n = first; n < next; n++)
      ASSERT_EQ(file->ring().find(n)->bytes, text_of(n, sizes[n])) << n;
  }
  std::unique_ptr<RingFile> file;
  std::map<uint64_t, uint64_t> sizes;
  uint64_t next = 1;
  int64_t now = kSecond;
};

TEST_F(RingMemoryTest, WhatABurstTookIsGivenBackAlthoughTheRingIsNeverEmpty) {
  for (int i = 0; i < 50; i++) ASSERT_TRUE(put_next(kMiB));
  EXPECT_GE(on_disk(), 50 * kMiB);
  for (int second = 0; second < 20; second++) {  // as `flame:demand` is written
    ASSERT_TRUE(put_next(300));
    free_all_but_newest();
    pass(1);
  }
  // The first, and the one that is written to.
  EXPECT_LE(on_disk(), 2 * RingFile::kStepBytes + kOwnBlocks);
  expect_complete(next - 1);
  open();
  expect_complete(next - 1);
  for (int i = 0; i < 50; i++) ASSERT_TRUE(put_next(kMiB)) << i;  // and takes it again
  expect_complete(next - 51);
}

TEST_F(RingMemoryTest, WhatIsHeldIsNeverGivenBack) {
  for (int i = 0; i < 50; i++) ASSERT_TRUE(put_next(kMiB));
  file->ring().free_to(24);
  pass(60);
  EXPECT_LE(on_disk(), 27 * kMiB + 3 * RingFile::kStepBytes + kOwnBlocks);
  expect_complete(25);
  for (int i = 0; i < 20; i++) ASSERT_TRUE(put_next(kMiB)) << i;  // beyond the end, at the front
  pass(60);
  expect_complete(25);
  open();
  expect_complete(25);
}

TEST_F(RingMemoryTest, ABusyRingKeepsItsPages) {
  for (int i = 0; i < 200; i++) {
    ASSERT_TRUE(put_next(kMiB));
    if (i > 0) free_all_but_newest();
    if (i % 10 == 0) pass(1);
  }
  EXPECT_GE(on_disk(), 63 * kMiB);
}

TEST_F(RingMemoryTest, WhatAnEarlierProcessTookIsGivenBackByTheNext) {
  for (int i = 0; i < 50; i++) ASSERT_TRUE(put_next(kMiB));
  free_all_but_newest();
  open();
  pass(20);
  EXPECT_LE(on_disk(), 2 * RingFile::kStepBytes + kOwnBlocks);
  expect_complete(next - 1);
}

// Random life with a kill at every step: giving back takes nothing that is needed.
TEST_F(RingMemoryTest, GivingBackSurvivesAKillAtAnyTime) {
  auto seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  uint64_t first = 1;
  for (int i = 0; i < 400; i++) {
    if (random() % 3 != 0) put_next(random() % (i % 2 == 0 ? 6 * kMiB : 300));
    if (random() % 2 == 0) {
      first += random() % (next - first + 1);
      file->ring().free_to(first - 1);
    }
    pass(static_cast<int64_t>(random() % 12));
    if (random() % 4 == 0) open();
    expect_complete(first);
  }
}

TEST_F(RingFileTest, AFolderThatIsNotThereIsNamed) {
  auto file = RingFile::open(folder + "/none/ring", 1 << 20);
  ASSERT_FALSE(file);
  EXPECT_NE(file.error().message.find("--ring-dir"), std::string::npos);
}

TEST(RingFilePath, DiffersByClusterAndDataFolder) {
  EXPECT_NE(RingFile::path_of("/r", "a", "/d"), RingFile::path_of("/r", "b", "/d"));
  EXPECT_NE(RingFile::path_of("/r", "a", "/d"), RingFile::path_of("/r", "a", "/e"));
}

}  // namespace
}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Golden vectors: proto/vectors/<message>.hex pins the bytes (first line header, second line
// payload), and messages.json says the same in words for other languages. A difference here is a
// change of the wire.
//     FLAME_UPDATE_VECTORS=1 build/release/bin/test_proto --gtest_filter='Vectors.*'
// writes them anew, after a change that was meant.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "proto/codec.hpp"
#include "tests/unit/proto/examples.hpp"
#include "tests/unit/proto/render.hpp"

namespace flame::proto::test {

namespace {

const std::filesystem::path kFolder = FLAME_SOURCE_DIR "/proto/vectors";

bool updating() { return std::getenv("FLAME_UPDATE_VECTORS") != nullptr; }

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}
void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string hex_file(const Example& example) {
  const Bytes* payload = payload_of(example.message);
  return to_hex(encode(example.envelope, example.message)) + "\n" +
         (payload != nullptr ? to_hex(payload->view()) + "\n" : "");
}

std::string name(const Example& example) { return std::string(name_of(type_of(example.message))); }

Json describe(const Example& example) {
  Json out;
  out["type"] = static_cast<int>(type_of(example.message));
  out["link"] = example.envelope.link;
  out["sequence"] = example.envelope.sequence;
  out["fields"] = std::visit([](const auto& message) { return render(message); }, example.message);
  out["payload"] = payload_of(example.message) != nullptr;
  return out;
}

Json describe_all() {
  Json out;
  out["about"] = "fields of the examples in *.hex, in the order of the wire; see docs/protocol.md";
  out["protocol_major"] = kProtocolMajor;
  out["protocol_minor"] = kProtocolMinor;
  for (const auto& row : kCodes) {
    static constexpr const char* kRetry[] = {"no", "later", "again"};
    out["codes"][std::string(row.name)] = {{"number", static_cast<int>(row.code)},
                                           {"retry", kRetry[static_cast<int>(row.retry)]}};
  }
  for (const auto& example : all_examples()) out["messages"][name(example)] = describe(example);
  return out;
}

}  // namespace

TEST(Vectors, EveryMessageEncodesToItsGoldenBytes) {
  if (updating()) std::filesystem::create_directories(kFolder);
  for (const auto& example : all_examples()) {
    auto path = kFolder / (name(example) + ".hex");
    if (updating()) write(path, hex_file(example));
    EXPECT_EQ(read(path), hex_file(example)) << path << "; see the top of this file";
  }
}

TEST(Vectors, GoldenBytesDecodeToTheExample) {
  for (const auto& example : all_examples()) {
    std::istringstream file(read(kFolder / (name(example) + ".hex")));
    std::string header, payload;
    std::getline(file, header);
    std::getline(file, payload);
    auto decoded = decode(from_hex(header), Bytes::own(from_hex(payload)));
    ASSERT_TRUE(decoded) << name(example) << ": " << decoded.error().message;
    EXPECT_EQ(decoded->envelope, example.envelope) << name(example);
    EXPECT_TRUE(decoded->message == example.message) << name(example);
  }
}

TEST(Vectors, TheJsonSaysTheSameInWords) {
  auto expected = describe_all().dump(1) + "\n";
  EXPECT_EQ(expected.find(kUnnamed), std::string::npos);
  if (updating()) write(kFolder / "messages.json", expected);
  EXPECT_EQ(read(kFolder / "messages.json"), expected);
}

TEST(Vectors, TheFolderHoldsNothingElse) {
  std::set<std::string> expected = {"messages.json"}, found;
  for (const auto& example : all_examples()) expected.insert(name(example) + ".hex");
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    found.insert(entry.path().filename());
  }
  EXPECT_EQ(found, expected);
}

}  // namespace flame::proto::test

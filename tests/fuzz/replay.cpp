// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// main() of a fuzz target without libFuzzer: every file of the folders and files named, as it is,
// then cut and with single bytes changed, in an order that is always the same.
//     smoke_codec FOLDER... [--mutations N]
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/fuzz/input.hpp"

namespace {

size_t runs = 0;

void replay(const std::string& bytes) {
  // Of exactly that size on the heap, as libFuzzer has it.
  std::string copy(bytes.data(), bytes.size());
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(copy.data()), copy.size());
  runs++;
}

// splitmix64: the same changes in every run.
uint64_t next(uint64_t& state) {
  uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

void mutate(const std::string& bytes, int mutations) {
  if (bytes.empty()) return;
  uint64_t random = bytes.size();
  for (int i = 0; i < mutations; i++) {
    std::string changed = bytes;
    uint64_t draw = next(random);
    size_t at = draw >> 16 & 0xffffffff;
    if (draw % 8 == 0) {
      changed.resize(at % bytes.size());
    } else {
      for (uint64_t n = 0; n <= draw % 3; n++) {
        uint64_t place = next(random);
        changed[place % changed.size()] = static_cast<char>(place >> 40);
      }
    }
    replay(changed);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::set<std::filesystem::path> files;
  int mutations = 50;
  for (int i = 1; i < argc; i++) {
    if (std::strcmp(argv[i], "--mutations") == 0 && i + 1 < argc) {
      mutations = std::atoi(argv[++i]);
    } else if (std::filesystem::is_directory(argv[i])) {
      for (const auto& entry : std::filesystem::directory_iterator(argv[i]))
        files.insert(entry.path());
    } else {
      files.insert(argv[i]);
    }
  }
  for (const auto& path : files) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "cannot read %s\n", path.c_str());
      return 1;
    }
    std::stringstream bytes;
    bytes << file.rdbuf();
    replay(bytes.str());
    mutate(bytes.str(), mutations);
  }
  std::printf("%zu files, %zu runs, no finding\n", files.size(), runs);
  return files.empty() ? 1 : 0;
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/log_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "proto/text.hpp"

namespace flame::flmctl {

namespace {

// Stops at the first byte that cannot be written, and at `bytes_max`: the file may grow meanwhile.
void copy(int from, off_t offset, uint64_t bytes_max, int to) {
  std::array<char, 64 * 1024> part;
  for (uint64_t done = 0; done < bytes_max;) {
    size_t want = std::min<uint64_t>(part.size(), bytes_max - done);
    ssize_t got = pread(from, part.data(), want, offset + static_cast<off_t>(done));
    if (got <= 0 || write(to, part.data(), static_cast<size_t>(got)) != got) return;
    done += static_cast<uint64_t>(got);
  }
}

}  // namespace

bool keep_log_bounded(const std::string& path, uint64_t bytes_max) {
  struct stat found {};
  if (stat(path.c_str(), &found) != 0) return false;
  auto size = static_cast<uint64_t>(found.st_size);
  if (!S_ISREG(found.st_mode) || size <= bytes_max) return false;
  int from = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (from < 0) return false;
  int to = open((path + ".1").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (to >= 0) {
    copy(from, static_cast<off_t>(size - bytes_max), bytes_max, to);
    close(to);
  }
  bool cut = ftruncate(from, 0) == 0;
  close(from);
  return cut;
}

std::vector<std::string> last_lines(const std::string& path, uint64_t offset, size_t lines_max) {
  constexpr uint64_t kBytesMax = 8192;
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return {};
  auto size = static_cast<uint64_t>(file.tellg());
  if (offset > size) offset = 0;  // the file was cut since
  bool inside_line = size - offset > kBytesMax;
  if (inside_line) offset = size - kBytesMax;
  file.seekg(static_cast<std::streamoff>(offset));
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (inside_line) {
      inside_line = false;
    } else if (!line.empty()) {
      lines.push_back(proto::printable(line, 400));
    }
  }
  if (lines.size() > lines_max)
    lines.erase(lines.begin(), lines.end() - static_cast<ptrdiff_t>(lines_max));
  return lines;
}

}  // namespace flame::flmctl

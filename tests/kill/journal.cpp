// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/kill/journal.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "runtime/assert.hpp"

namespace flame::tests {

Journal::Journal(const std::string& path) {
  std::ifstream before(path);
  off_t good = 0;
  for (std::string line; std::getline(before, line) && !before.eof();) {
    good += static_cast<off_t>(line.size() + 1);
    read_line(line);
  }
  fd_ = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  FLAME_ASSERT(fd_ >= 0 && ftruncate(fd_, good) == 0);
}

Journal::~Journal() {
  flush();
  close(fd_);
}

void Journal::add(const std::string& line) {
  read_line(line);
  waiting_ += line + "\n";
}

void Journal::flush() {
  if (waiting_.empty()) return;
  FLAME_ASSERT(write(fd_, waiting_.data(), waiting_.size()) ==
               static_cast<ssize_t>(waiting_.size()));
  waiting_.clear();
}

void Journal::read_line(const std::string& line) {
  std::istringstream words(line.substr(line.empty() ? 0 : 1));
  uint64_t number = 0, first = 0, count = 0;
  switch (line.empty() ? ' ' : line[0]) {
    case 'U':
      words >> lineage;
      break;
    case 'S':
      words >> submitted >> count;
      tasks_submitted += count;
      break;
    case 'A':
      words >> number;
      if (number == acknowledged + 1) acknowledged = number;
      break;
    case 'R':
      words >> number >> first >> count;
      next_index = number + 1;
      tasks_received += count;
      break;
    default:
      break;
  }
}

}  // namespace flame::tests

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What the kill client knows for certain, in a file that outlives it: a line per fact, written
// before anything is done that follows from it.
//
//   U lineage epoch        a link is up
//   D reason               it broke
//   S number count         a submit is about to be sent
//   A number first count   it was acknowledged
//   R index first count attempt executor | output output ...
//                          an entry of `done`; !code in place of the output of a task that failed
//   L first count          acknowledged tasks that the client is told are lost (only with --loss 1)
//   X text                 something that must not happen
//   Z tasks                all is received, the session is closed

#include <cstdint>
#include <string>

namespace flame::tests {

class Journal {
 public:
  /// Reads what an earlier client left; a last line without an end is cut off.
  explicit Journal(const std::string& path);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  uint64_t submitted = 0;     ///< the last submit's number
  uint64_t acknowledged = 0;  ///< up to here without a gap
  uint64_t next_index = 0;    ///< of `done`
  uint64_t tasks_submitted = 0;
  uint64_t tasks_received = 0;
  std::string lineage;

  /// Takes effect with flush(), in one write.
  void add(const std::string& line);
  void flush();

 private:
  void read_line(const std::string& line);

  int fd_;
  std::string waiting_;
};

}  // namespace flame::tests

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// One batch of the ceiling, written as the real store writes one: the same commands with the same
// fields in the same order, so that Redis has exactly the same work. tests/system/test_ceiling.py
// compares the two as Redis sees them.

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/store/resp.hpp"
#include "proto/bytes.hpp"
#include "proto/codec.hpp"
#include "proto/run.hpp"

namespace flame::ceiling {

inline constexpr std::string_view kSession = "ceiling-Ab3dE6";
inline constexpr std::string_view kEpoch = "1-ceiling";

struct StoredResult {
  proto::Run run;
  std::string head;
  proto::Bytes elements;
};

/// What one turn after the other puts into the batch until it leaves.
struct Filling {
  /// In the order of arrival: a result with the input run that it finished, or entries of done that
  /// were read.
  struct Step {
    proto::Run drop_input;
    int result = -1;
    std::vector<proto::Run> read;
    std::vector<uint64_t> gone;  ///< segments of which all is read
  };
  std::vector<Step> steps;
  std::vector<StoredResult> results;
  std::vector<std::pair<proto::Run, proto::Bytes>> inputs;
  std::vector<std::pair<proto::Run, char>> letters;
  bool submitted = false;
  bool reader = false;   ///< somebody read further; goes with the next batch, makes none
  bool trims = false;    ///< a step drops what was read: order matters then
  bool touched = false;  ///< housekeeping, which makes a batch
  uint64_t tasks = 0;

  void set_letters(const proto::Run& run, char letter);
  bool empty() const { return steps.empty() && inputs.empty() && letters.empty() && !touched; }
};

/// What stands once in a batch, however many tasks it has.
struct Standing {
  uint64_t tasks = 0, pending = 0, running = 0, succeed = 0;
  uint64_t done_first = 0, read_until = 0;
  /// Tasks whose results were dropped. They end nearly in the order of their ids: one number says
  /// which segments have lost all.
  uint64_t read_tasks = 0;
  int64_t wall_ms = 0;
  proto::SubmitHistory submits;
};

/// The commands that exist before the first batch: the session and who owns the Redis. Returns the
/// replies to come.
size_t write_start(std::string& out, int64_t wall_ms);

size_t size_max(const Filling& filling, const Standing& standing);
/// Writes the transaction; returns bytes and replies.
std::pair<size_t, size_t> write_batch(const Filling& filling, const Standing& standing,
                                      uint64_t number, char* out);

}  // namespace flame::ceiling

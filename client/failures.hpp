// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What a person wants to know about failed tasks: how many, and the first few reasons that differ.

#include <cstdint>
#include <string>
#include <vector>

#include "proto/messages.hpp"

namespace flame::tools {

class Failures {
 public:
  void add(const proto::Exception& failure);
  uint64_t count() const { return count_; }

  /// The first three distinct ones with their counts and the tail of stderr; "" if nothing failed.
  std::string show() const;

 private:
  struct Kind {
    proto::Code code;
    std::string reason;
    proto::TaskId first;
    uint64_t count;
  };
  static constexpr size_t kShown = 3;
  // Reasons that name a task or a time all differ: beyond these they are only counted.
  static constexpr size_t kKept = 64;

  uint64_t count_ = 0;
  uint64_t others_ = 0;
  std::vector<Kind> kinds_;
};

}  // namespace flame::tools

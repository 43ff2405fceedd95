// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Makes an Observation of what was read: rows that the broker wrote, and the executors that the
// provider lists. It judges how old figures are by when they last changed in front of its own eyes,
// never by comparing clocks of two machines. What could not be read freezes; the last good figures
// are shown meanwhile.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "autoscaler/core/policy.hpp"
#include "proto/error.hpp"
#include "proto/value.hpp"

namespace flame::autoscaler {

/// flame:demand and flame:executors, and how long flame:owner still lives: without it nobody keeps
/// the rest up to date.
struct Stored {
  std::map<std::string, proto::Value> demand;
  std::map<std::string, proto::Value> executors;
  int64_t owner_ttl_ms = -2;                              ///< as PTTL says it; -2: there is none
  std::map<std::string, proto::Value> applications = {};  ///< for a provider that wants them
};

/// An executor as its provider lists it.
struct Provided {
  std::string id;
  std::string application;
  bool leaving = false;
  uint64_t exits = 0;   ///< how often its process has ended by itself
  std::string trouble;  ///< how it ended last
  friend bool operator==(const Provided&, const Provided&) = default;
};

class Observer {
 public:
  Observation observe(const proto::Result<Stored>& stored,
                      const proto::Result<std::vector<Provided>>& provided, proto::Now now);

 private:
  /// Something that was seen with a mark, and since when.
  struct Mark {
    int64_t mark = 0;
    int64_t since_us = 0;
  };
  using Marks = std::map<std::string, Mark>;
  static int64_t age_us(Marks& marks, const std::string& name, int64_t mark, proto::Now now);

  void take_demand(const Stored& stored, proto::Now now);
  void take_members(const Stored& stored, const std::vector<Provided>& provided, proto::Now now);

  Observation last_;
  Marks updated_;   ///< of rows of flame:demand
  Marks idle_;      ///< of executors
  Marks starting_;  ///< of provided ones that are not registered
};

}  // namespace flame::autoscaler

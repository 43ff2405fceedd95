// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The events of one session: what answers and Redis have of them are pieces of one list, which only
// grows, whoever the broker is.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "proto/value.hpp"

namespace flame::sim {

/// What clients were told of a session, and its list must tell as well: code and begin of the text,
/// and how often.
using Facts = std::map<std::pair<std::string, std::string>, uint64_t>;

class EventList {
 public:
  struct Event {
    int64_t at_ms = 0;
    std::string code, text;
    friend bool operator==(const Event&, const Event&) = default;
  };
  static std::vector<Event> from(const proto::List& rows);

  /// A piece that was read now, and has what was known when it was asked for. Tells what is wrong
  /// with it; empty: nothing.
  std::string see(const std::vector<Event>& piece, const Facts& known, int64_t now_ms);
  /// From the first one on; else older ones were trimmed before anybody read them.
  bool whole() const { return whole_; }
  const std::vector<Event>& events() const { return events_; }

 private:
  std::string join(const std::vector<Event>& piece);

  std::vector<Event> events_;
  bool whole_ = true;
};

}  // namespace flame::sim

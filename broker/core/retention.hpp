// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What is dropped, and when: results that were read or whose time is over, the letters of tasks
// whose results are gone, closed sessions, entries of silent clients and readers.

#include "broker/core/state.hpp"

namespace flame::broker {

/// Once a second: results and summaries of closed sessions whose time is over, silent clients'
/// entries.
void apply_retention(State& state, const proto::Now& now);
/// Part of housekeeping. Retention `read`: drops outputs that every reader has consumed, and the
/// letters of a segment with the last output of its tasks.
void trim_read(State& state, Session& session, const proto::Now& now);
/// All that the session has by segments, with or without the letters.
void drop_segments(State& state, const Session& session, bool letters);

/// `trimmed` in flame:{S}:session: "segment:tasks ...", see docs/redis.md.
std::string text_of_trimmed(const Session& session);
void read_trimmed(Session& session, std::string_view text);

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The logs of a local cluster. Each process appends to its file through a descriptor that it never
// opens again, so a full file cannot be renamed under it: it is copied to NAME.log.1 and cut.

#include <cstdint>
#include <string>
#include <vector>

#include "proto/error.hpp"

namespace flame::flmctl {

/// True if `path` had more than `bytes_max` and begins anew; the end of it, at most `bytes_max`, is
/// then in `path`.1 and what that held before is gone. A line written meanwhile may be
/// missing. Where the copy fails (disk full) the file is cut all the same: the bound comes first.
bool keep_log_bounded(const std::string& path, uint64_t bytes_max);

/// The last `lines_max` lines of what was written to `path` after `offset`, safe to show.
std::vector<std::string> last_lines(const std::string& path, uint64_t offset, size_t lines_max);

}  // namespace flame::flmctl

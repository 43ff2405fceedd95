// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

#include <string>

#include "proto/error.hpp"

namespace flame::flmctl {

/// A whole file, or stdin for "-". Refuses more than `size_max` bytes.
proto::Result<std::string> read_file(const std::string& path, uint64_t size_max);

}  // namespace flame::flmctl

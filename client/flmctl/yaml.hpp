// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

#include <string>
#include <vector>

#include "proto/error.hpp"
#include "proto/value.hpp"

namespace flame::flmctl {

/// Every document of a YAML text. Plain scalars that look like numbers or booleans become those;
/// quoted ones stay texts. Aliases and deep nesting are refused: a manifest needs neither, a bomb
/// both.
proto::Result<std::vector<proto::Value>> parse_yaml(const std::string& text);

/// The same of a file, or of stdin for "-"; errors begin with the path.
proto::Result<std::vector<proto::Value>> read_yaml(const std::string& path);

std::string to_yaml(const proto::Value& value);

}  // namespace flame::flmctl

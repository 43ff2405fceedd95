// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

#include <string>

#include "proto/error.hpp"

namespace flame::client {

/// "" where nothing is said.
struct Target {
  std::string endpoint;
  std::string cluster;  ///< what the broker's must be called
};

/// The broker of the current context in ~/.flame/flame.yaml, a file that the original Flame's users
/// have; nothing where there is no such file. One that is there and cannot be used is an error:
/// whoever wrote it does not mean the local cluster.
proto::Result<Target> target_of_context(const std::string& home);

}  // namespace flame::client

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What was typed after `flmctl up`, checked, and what follows from it. Pure but for the environment
// that runtime::Options reads.

#include <optional>
#include <string>
#include <vector>

#include "client/flmctl/supervisor_messages.hpp"
#include "proto/error.hpp"

namespace flame::flmctl {

struct UpRequest {
  std::string data;
  bool detach = false;
  bool help = false;
  ControlRequest given;   ///< verb up; only what was given
  std::string redis_url;  ///< with password, "" for a private Redis
};

/// `redis_environment`: FLAME_REDIS_URL, the only way to hand over a password.
proto::Result<UpRequest> parse_up(int argc, const char* const* argv,
                                  const std::string& redis_environment);
std::string up_help();
/// Of up, down and status, which take options only.
proto::Status no_words(const std::vector<std::string>& words);

/// A URL as it may be shown: without user and password.
std::string without_password(const std::string& url);

inline constexpr uint64_t kExecutorsMost = 256;
/// The settings of a new cluster.
UpSettings settings_for(const ControlRequest& given, uint64_t cores);

}  // namespace flame::flmctl

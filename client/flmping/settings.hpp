// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

#include <cstdint>
#include <string>

#include "proto/error.hpp"
#include "proto/messages.hpp"

namespace flame::ping {

/// What the command line asked for.
struct Settings {
  uint64_t tasks = 10;
  uint64_t input_size = 64;   ///< bytes
  uint64_t output_size = 64;  ///< bytes
  uint64_t duration_ms = 0;
  uint64_t memory_bytes = 0;
  uint64_t priority = 0;
  uint64_t timeout_ms = 60'000;  ///< without progress
  std::string common_data;
  std::string resources;
  std::string shim = "native";
  std::string endpoint;
  std::string cluster;
  proto::Durability durability = proto::Durability::kStored;
  bool perf = false;
  bool latency = false;
  bool json = false;
  bool help = false;
  bool version = false;
};

proto::Result<Settings> parse_settings(int argc, const char* const* argv);
std::string help_text();

/// The session's common data: what the service of the application flmping reads.
std::string common_data_of(const Settings& settings);
/// Whether it is one; `grpc` only where Flame was built with it.
proto::Status check_shim(const std::string& shim, bool has_grpc);
/// Name of the application: flmping, flmping-shell or flmping-grpc.
std::string application_of(const Settings& settings);

}  // namespace flame::ping

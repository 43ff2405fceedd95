// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What is said over control.sock, one JSON line each way, and what the broker says when it serves.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/flmctl/cluster_folder.hpp"
#include "proto/error.hpp"

namespace flame::flmctl {

/// `up` carries only what was given on the command line; answered when all is ready or the time is
/// over. `down` is answered when everything has stopped, `status` at once. `scale` is the
/// autoscaler's: `add` executors for `application`, or those of `leave` may go if they are idle;
/// answered at once.
struct ControlRequest {
  std::string verb;
  std::optional<uint64_t> executors;
  std::optional<uint16_t> port;
  std::optional<uint64_t> slots;
  std::optional<std::string> redis;
  std::optional<std::string> appendfsync;
  std::optional<bool> autoscale;
  std::optional<uint64_t> max_executors;
  std::optional<std::string> application;
  std::optional<uint64_t> add;
  std::vector<std::string> leave;
  friend bool operator==(const ControlRequest&, const ControlRequest&) = default;
};

struct ControlReply {
  std::string result;  ///< ok, failed (not ready in time), recover (a person must decide),
                       ///< differs (a flag), stopping, refused
  std::string message;
  std::vector<std::string> lines;  ///< of the logs of what failed
  ClusterStatus status;
  friend bool operator==(const ControlReply&, const ControlReply&) = default;
};

/// The broker's --ready-file. `replaced`, and nothing else but the pid: why it ended, when another
/// broker took its Redis.
struct ReadyFile {
  std::string endpoint, executors, http, ring, replaced;
  int pid = 0;
};

std::string to_json(const ControlRequest& request);
proto::Result<ControlRequest> request_from_json(std::string_view text);
std::string to_json(const ControlReply& reply);
proto::Result<ControlReply> reply_from_json(std::string_view text);
proto::Result<ReadyFile> ready_file_from_json(std::string_view text);
/// The ids of the connected executors, from the broker's /api/v1/executors.
proto::Result<std::vector<std::string>> executors_from_json(std::string_view text);

/// What differs between the flags of a second `up` and the running cluster: both values, or "".
std::string difference(const ControlRequest& asked, const UpSettings& running);

}  // namespace flame::flmctl

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A folder of one service for the unix socket that it opens, for this user alone.

#include <string>

#include "proto/error.hpp"

namespace flame::shims {

class SocketFolder {
 public:
  SocketFolder() = default;
  ~SocketFolder();
  SocketFolder(const SocketFolder&) = delete;
  SocketFolder& operator=(const SocketFolder&) = delete;

  /// In `parent`, or in /tmp where the path would not fit the address of a unix socket.
  proto::Status make(const std::string& parent);
  std::string socket() const { return path_ + "/sock"; }

 private:
  std::string path_;
};

}  // namespace flame::shims

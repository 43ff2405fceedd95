// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A real redis-server on a unix socket in a folder of its own, for tests. Ends with the object, its
// folder too.

#include <sys/types.h>

#include <string>
#include <vector>

namespace flame::tests {

class RedisServer {
 public:
  /// `arguments` as on redis-server's command line, after the usual ones: appendonly yes, everysec,
  /// no RDB.
  explicit RedisServer(std::vector<std::string> arguments = {});
  ~RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  /// Starts on the same folder and returns when it has loaded its data, or only when it listens.
  void start(std::vector<std::string> more_arguments = {}, bool until_loaded = true);
  /// SIGKILL by default; returns when it is gone.
  void kill(int signal = 9);
  bool runs() const { return pid_ > 0; }
  pid_t pid() const { return pid_; }

  /// Also on a free port of loopback, for a replica.
  void listen_on_loopback();
  int port() const { return port_; }

  const std::string& folder() const { return folder_; }
  std::string socket() const { return folder_ + "/redis.sock"; }
  std::string url() const { return "unix://" + socket(); }

  /// One command by a plain blocking connection of its own; replies are flattened to text, arrays
  /// to lines.
  std::string command(const std::vector<std::string>& words) const;

 private:
  std::string folder_;
  std::vector<std::string> arguments_;
  pid_t pid_ = -1;
  int port_ = 0;
};

}  // namespace flame::tests

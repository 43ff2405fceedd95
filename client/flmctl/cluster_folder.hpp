// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The data folder of one local cluster: what lies where, who may have it, what cluster.json says.
// Everything in it belongs to the user who made it (mode 0700): the private Redis has no password.
//
//     redis.sock control.sock   (elsewhere where the path is too long for a socket)
//     redis/  logs/NAME.log  run/NAME.pid  run/broker.ready  cluster.json  lock

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "proto/error.hpp"

namespace flame::flmctl {

/// What `up` was asked for and its supervisor goes by.
struct UpSettings {
  uint16_t port = 7700;  ///< clients; executors + 1, HTTP + 80
  uint64_t slots = 1;    ///< per executor
  uint64_t executors = 1;
  std::string redis;  ///< URL of a Redis of somebody else, without password; "" for the private one
  std::string appendfsync = "everysec";
  bool autoscale = false;
  uint64_t max_executors = 0;  ///< of the autoscaler's; 0: no autoscaler
  friend bool operator==(const UpSettings&, const UpSettings&) = default;
};

struct ProcessStatus {
  std::string name;          ///< redis, broker, executor-1 ...
  std::string state;         ///< waiting, starting, running, backoff, stopping, stopped
  int pid = 0;               ///< 0 while it does not run
  uint64_t start_ticks = 0;  ///< with pid and boot id it names one process for ever
  int64_t started_ms = 0;    ///< Unix time
  uint64_t restarts = 0;
  std::string last_exit;    ///< how it ended last, "" if it never did
  std::string application;  ///< of an executor that the autoscaler asked for
  friend bool operator==(const ProcessStatus&, const ProcessStatus&) = default;
};

/// cluster.json, and what the supervisor answers.
struct ClusterStatus {
  std::string state;  ///< starting, running, degraded, replaced, stopping, stopped, unsupervised
  std::string version;
  std::string data;
  std::string endpoint;  ///< for clients
  std::string executors_endpoint;
  std::string http;
  std::string redis;  ///< URL without password
  std::string ring;   ///< file of the broker's ring, "" before it said so
  std::string boot_id;
  int supervisor_pid = 0;
  UpSettings settings;
  std::vector<ProcessStatus> processes;
  friend bool operator==(const ClusterStatus&, const ClusterStatus&) = default;

  const ProcessStatus* find(std::string_view name) const;
};

class ClusterFolder {
 public:
  /// Makes the folder where it is missing; refuses one of another user.
  static proto::Result<ClusterFolder> make(const std::string& path);
  /// For `status` and `down`, which make nothing.
  static proto::Result<ClusterFolder> existing(const std::string& path);
  /// $XDG_STATE_HOME/flame/default, else ~/.local/state/flame/default.
  static std::string default_path();

  const std::string& path() const { return path_; }  ///< absolute
  std::string redis_folder() const { return path_ + "/redis"; }
  std::string redis_socket() const { return socket_path("redis.sock"); }
  std::string control_socket() const { return socket_path("control.sock"); }
  std::string ready_file() const { return path_ + "/run/broker.ready"; }
  std::string log_file(const std::string& name) const { return path_ + "/logs/" + name + ".log"; }

  /// A descriptor that holds the lock until it is closed, or -1 where another process has it.
  proto::Result<int> lock() const;

  /// Atomic. Also brings run/*.pid in line: they say the same, a file each.
  proto::Status write_cluster(const ClusterStatus& status) const;
  /// kNotFound where there is none: nothing runs, or it was stopped in order.
  proto::Result<ClusterStatus> read_cluster() const;
  void remove_cluster() const;

  uint64_t append_only_bytes() const;
  uint64_t disk_free_bytes() const;

 private:
  explicit ClusterFolder(std::string path);
  std::string socket_path(const char* name) const { return sockets_ + "/" + name; }
  proto::Status make_folders() const;
  void write_pid_files(const ClusterStatus& status) const;

  std::string path_;
  std::string sockets_;  ///< path_, or a short folder of its own
};

/// Longest path a unix socket can have here, without its final NUL.
inline constexpr size_t kSocketPathMax = 107;

/// A short folder for the sockets of a data folder whose path is too long: always the same for the
/// same path.
std::string short_socket_folder(std::string_view data, std::string_view runtime_folder,
                                unsigned user);

/// `status` as JSON, and back. Unknown keys are skipped: fields are only ever added.
std::string to_json(const ClusterStatus& status, int indent = -1);
proto::Result<ClusterStatus> cluster_from_json(std::string_view text);

/// `text` as a JSON string, with its quotes.
std::string json_text(const std::string& text);

std::string read_text_file(const std::string& path);

}  // namespace flame::flmctl

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// /livez, /readyz, /metrics, /api/v1/...: a thread of its own that sees only an immutable,
// time-stamped snapshot the loop publishes. It never touches the core.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "broker/core/core.hpp"

namespace flame::broker {

struct Snapshot {
  int64_t mono_us = 0;  ///< when it was published
  std::string version;
  bool serving = false;
  bool writable = false;
  bool busy = false;
  bool insecure = false;
  bool waits_for_recover = false;  ///< a person has to decide: flmctl recover
  std::string problem;             ///< why not ready, or why submits are refused
  struct App {
    std::string name;
    uint64_t pending = 0, running = 0, slots_bound = 0, sessions_open = 0, sessions_closed = 0;
  };
  std::vector<App> apps;
  uint64_t executors_connected = 0, executors_draining = 0, executors_held = 0, slots = 0,
           clients = 0;
  struct Level {
    std::string_view name;  ///< synced, replicated
    uint64_t waiting = 0;   ///< messages to clients
    bool late = false;
  };
  std::vector<Level> levels;
  Totals totals;
  /// Plain rows: as text, ten thousand of them would cost the loop milliseconds four times a
  /// second.
  struct ExecutorRow {
    std::string id, address;
    std::string_view state;  ///< a name of the table in proto/states
    uint64_t slots = 0;
  };
  std::vector<ExecutorRow> executors;  ///< /api/v1/executors
};

Snapshot snapshot_of(const State& state, const proto::Now& now, bool insecure);
/// Prometheus text format.
std::string metrics_text(const Snapshot& snapshot);

class HttpServer {
 public:
  HttpServer();
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// Port 0 takes a free one. Returns the port.
  proto::Result<int> listen(const std::string& address, int port);
  /// Called by the loop's thread; readers keep the one they have.
  void publish(Snapshot snapshot);
  /// False where connections that neither speak nor close keep threads of it alive: then the
  /// process must end without destroying what is static, which they may still use.
  bool stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace flame::broker

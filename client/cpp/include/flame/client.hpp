// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The way to a broker:
//
//   auto client = flame::Client::connect();
//   auto session = client.create_session({.application = "echo"});
//   std::cout << session.submit("hello").get() << "\n";
//   session.close();
//
// A client has one thread of its own, which keeps the connection and repairs it: a broker that
// restarts, a network that breaks for a while or a busy store cost time, never a task. Every
// function may be called from any thread. All errors are flame::Error. Signals of the process are
// left alone.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "flame/error.hpp"
#include "flame/session.hpp"

namespace flame {

struct ClientOptions {
  /// How long connect() waits for the broker.
  std::chrono::milliseconds connect_timeout{5'000};
  /// How long requests wait for their answer, restarts of the broker included.
  std::chrono::milliseconds request_timeout{30'000};
  /// The cluster that the broker must be of; "": FLAME_CLUSTER, else what the context that has the
  /// endpoint calls it, else any.
  std::string cluster = {};
};

/// A service behind the shim `rest`; "" means the default.
struct RestOptions {
  std::string url = {};  ///< "": a unix socket of the executor's
  std::string health = {};
  std::string content_type = {};
  bool batch = false;
  std::string ca_file = {};
};

/// A kind of service. The meaning of each field is in docs/applications.md; 0 and "" mean the
/// default.
struct ApplicationOptions {
  std::string name = {};
  std::string shim = "native";  ///< native, shell, grpc or rest
  std::string command = {};     ///< executable; no shell
  std::vector<std::string> arguments = {};
  std::vector<std::pair<std::string, std::string>> environment = {};
  std::string working_directory = {};
  std::string description = {};
  std::vector<std::string> labels = {};
  uint64_t max_instances = 0;
  uint64_t max_attempts = 0;
  std::chrono::milliseconds task_timeout{0};
  std::optional<bool> reuse = {};  ///< false: a process serves one session only
  uint64_t concurrency = 0;        ///< tasks at the same time in one instance; grpc, rest
  RestOptions rest = {};
};

/// What becomes different; the rest stays as it is.
struct ApplicationChanges {
  std::optional<std::string> command = {};
  std::optional<std::vector<std::string>> arguments = {};
  std::optional<std::vector<std::pair<std::string, std::string>>> environment = {};
  std::optional<std::string> working_directory = {};
  std::optional<std::string> image = {};
  std::optional<std::string> description = {};
  std::optional<std::vector<std::string>> labels = {};
  std::optional<uint64_t> max_instances = {};
  std::optional<uint64_t> max_attempts = {};
  std::optional<std::chrono::milliseconds> task_timeout = {};
  std::optional<std::chrono::milliseconds> delay_release = {};
  std::optional<bool> reuse = {};
};

struct ExecutorStatus {
  std::string id = {};
  std::string state = {};
  std::string address = {};
  uint64_t slots = 0;
  /// "cordoned" or "drained" where it takes nothing new.
  std::string hold = {};
  /// What whoever started it knows it by: "pod NAMESPACE/NAME UID" or "process PID".
  std::string provider = {};
};

/// A machine that executors run on: what stands before the last colon of their addresses.
struct NodeStatus {
  std::string id = {};
  uint64_t executors = 0;  ///< connected
  uint64_t slots = 0;      ///< of these: all,
  uint64_t bound = 0;      ///< those that serve a session,
  uint64_t busy = 0;       ///< and those with a task in hand
};

class Client {
 public:
  /// `endpoint` "": FLAME_ENDPOINT, else the current context of ~/.flame/flame.yaml, else the
  /// default local cluster, else tcp://127.0.0.1:7700.
  /// Throws no_broker, and cluster where the broker is one of another cluster.
  static Client connect(const std::string& endpoint = "", const ClientOptions& options = {});

  /// Throws already_exists if the id is taken, not_found if there is no such application.
  Session create_session(const SessionOptions& options);
  /// An existing one, by id, unique prefix or `last`. Throws not_found.
  Session open_session(const std::string& session);
  /// Opens the session of that id, or creates it. Throws already_exists if it exists with other
  /// attributes.
  Session open_or_create_session(const SessionOptions& options);

  std::vector<SessionStatus> list_sessions();
  std::vector<ApplicationOptions> list_applications();
  std::vector<ExecutorStatus> list_executors();
  std::vector<NodeStatus> list_nodes();
  /// By id or unique prefix. A cordoned executor finishes what it has and takes nothing new, also
  /// if its process is started again. A drained one leaves once it is idle; a drained pod stays,
  /// takes nothing and can be deleted. Throws not_found, wrong_state.
  void cordon_executor(const std::string& executor);
  void uncordon_executor(const std::string& executor);
  void drain_executor(const std::string& executor);
  SessionStatus close_session(const std::string& session);
  /// Needs a closed session, or `force`.
  void delete_session(const std::string& session, bool force = false);

  /// An equal one is fine; another one under an open session is refused.
  void register_application(const ApplicationOptions& application);
  /// Also while sessions of it are open: each of their instances is started anew once nothing runs
  /// in it.
  void update_application(const std::string& name, const ApplicationChanges& changes);
  void unregister_application(const std::string& name);

  const std::string& endpoint() const;

 private:
  friend class detail::ClientImpl;
  explicit Client(std::shared_ptr<detail::ClientImpl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<detail::ClientImpl> impl_;
};

}  // namespace flame

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/cpp/src/endpoint.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

namespace flame::client {

namespace {

constexpr const char* kFallback = "tcp://127.0.0.1:7700";

std::string environment(const char* name) {
  auto value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string endpoint_of_cluster(const std::string& folder) {
  std::ifstream file(folder + "/cluster.json");
  if (!file) return "";
  auto json = nlohmann::json::parse(file, nullptr, false);
  if (!json.is_object() || !json.contains("endpoint") || !json["endpoint"].is_string()) return "";
  return json["endpoint"].get<std::string>();
}

bool refused(const sockaddr* address, socklen_t size) {
  int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  bool refused = connect(fd, address, size) != 0 && (errno == ECONNREFUSED || errno == ENOENT);
  int error = 0;
  socklen_t error_size = sizeof error;
  // On loopback the refusal is there as soon as connect() returns.
  if (!refused && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size) == 0) {
    refused = error == ECONNREFUSED;
  }
  close(fd);
  return refused;
}

// HOST:PORT is enough, as it is in Python.
Target with_scheme(Target target) {
  if (target.endpoint.find("://") == std::string::npos) target.endpoint.insert(0, "tcp://");
  return target;
}

}  // namespace

std::string default_cluster_folder() {
  std::string state = environment("XDG_STATE_HOME");
  if (state.empty() || state[0] != '/') state = environment("HOME") + "/.local/state";
  return state + "/flame/default";
}

proto::Result<Target> find_broker(Target told) {
  if (told.cluster.empty()) told.cluster = environment("FLAME_CLUSTER");
  if (told.endpoint.empty()) told.endpoint = environment("FLAME_ENDPOINT");
  if (!told.endpoint.empty()) return with_scheme(told);
  auto context = target_of_context(environment("HOME"));
  if (!context) return context;
  if (told.cluster.empty()) told.cluster = context->cluster;
  told.endpoint = context->endpoint;
  if (told.endpoint.empty()) told.endpoint = endpoint_of_cluster(default_cluster_folder());
  if (told.endpoint.empty()) told.endpoint = kFallback;
  return with_scheme(told);
}

bool refuses_connections(const std::string& endpoint) {
  if (endpoint.starts_with("ipc://")) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::string path = endpoint.substr(6);
    if (path.size() >= sizeof address.sun_path) return false;
    path.copy(address.sun_path, path.size());
    return refused(reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  if (!endpoint.starts_with("tcp://127.0.0.1:"))
    return false;  // only where the answer is immediate
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(endpoint.c_str() + 16)));
  return refused(reinterpret_cast<sockaddr*>(&address), sizeof address);
}

}  // namespace flame::client

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/up_ports.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/clock.hpp"

namespace flame::flmctl {

using proto::Code;
using proto::Error;

namespace {

bool is_free(uint16_t port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int yes = 1;
  // As the broker binds: connections that linger from before do not count.
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bool bound =
      bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 && listen(fd, 1) == 0;
  close(fd);
  return bound;
}

/// The first of the three that is taken, or 0.
uint16_t taken_one(uint16_t port) {
  auto ports = ports_of(port);
  for (uint16_t each : {ports.clients, ports.executors, ports.http}) {
    if (!is_free(each)) return each;
  }
  return 0;
}

std::string loopback(const char* scheme, uint16_t port) {
  return std::string(scheme) + "://127.0.0.1:" + std::to_string(port);
}

}  // namespace

std::string BrokerPorts::clients_endpoint() const { return loopback("tcp", clients); }
std::string BrokerPorts::executors_endpoint() const { return loopback("tcp", executors); }
std::string BrokerPorts::http_url() const { return loopback("http", http); }

BrokerPorts ports_of(uint16_t port) {
  return {port, static_cast<uint16_t>(port + 1), static_cast<uint16_t>(port + 80)};
}

proto::Status check_ports(uint16_t port) {
  uint16_t taken = taken_one(port);
  if (taken == 0) return {};
  auto ports = ports_of(port);
  std::string use = taken == ports.clients     ? "clients"
                    : taken == ports.executors ? "executors"
                                               : "HTTP";
  std::string text = "port " + std::to_string(taken) + " (" + use + ") is taken";
  for (int next = port + 1; next <= kPortMost && next < port + 1000; next++) {
    if (taken_one(static_cast<uint16_t>(next)) != 0) continue;
    text += "; the next free one is " + std::to_string(next) + ": --port " + std::to_string(next);
    break;
  }
  return Error{Code::kSystem, text + ", or --port 0 for any"};
}

proto::Result<uint16_t> free_port() {
  for (int tries = 0; tries < 200; tries++) {
    auto port = static_cast<uint16_t>(20'000 + runtime::random_u64() % 12'000);
    if (taken_one(port) == 0) return port;
  }
  return Error{Code::kSystem,
               "no three free ports were found between 20000 and 32000; name one: --port P"};
}

}  // namespace flame::flmctl

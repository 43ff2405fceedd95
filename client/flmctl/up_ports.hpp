// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The three ports of a broker: clients, executors (+ 1), HTTP (+ 80), all on loopback.

#include <cstdint>
#include <string>

#include "proto/error.hpp"

namespace flame::flmctl {

struct BrokerPorts {
  uint16_t clients, executors, http;
  std::string clients_endpoint() const;
  std::string executors_endpoint() const;
  std::string http_url() const;
};

inline constexpr uint16_t kPortMost = 65535 - 80;
BrokerPorts ports_of(uint16_t port);

/// An error that names the taken one and the next port whose three are free. Free now is no
/// promise.
proto::Status check_ports(uint16_t port);
/// Three free ones, below the range from which the system draws its own.
proto::Result<uint16_t> free_port();

}  // namespace flame::flmctl

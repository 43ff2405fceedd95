// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

#include <string>

#include "client/cpp/src/context_file.hpp"
#include "proto/error.hpp"

namespace flame::client {

/// Where a client connects, with what it was not told. The endpoint: FLAME_ENDPOINT, else the
/// current context of ~/.flame/flame.yaml (context_file.hpp), else the default local cluster (its
/// cluster.json under $XDG_STATE_HOME or ~/.local/state), else tcp://127.0.0.1:7700. The cluster:
/// FLAME_CLUSTER, else that context's name for it if the context was asked for the endpoint, else
/// "": any.
proto::Result<Target> find_broker(Target told);

/// The folder of the default local cluster.
std::string default_cluster_folder();

/// True if the endpoint is certain to have nobody behind it right now (connection refused, no such
/// socket), so that a tool need not wait for a time-out. False says nothing.
bool refuses_connections(const std::string& endpoint);

}  // namespace flame::client

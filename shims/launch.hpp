// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// From an application to what is started: its command looked up, its environment made.

#include <string>

#include "proto/application.hpp"
#include "shims/shim.hpp"

namespace flame::shims {

struct LaunchPlace {
  std::string
      program_directory;  ///< of our own executable: the services that come with Flame are there
  std::string work_directory;  ///< of the executor; an application without one of its own gets a
                               ///< folder in it
  Guard* guard = nullptr;      ///< told of what is started; null: nobody
  GrpcClient* grpc = nullptr;  ///< for services behind the grpc shim; null: none can be started
  runtime::HttpClient* http = nullptr;  ///< for services behind the rest shim
  std::string endpoint = {};  ///< FLAME_ENDPOINT of services: where clients find the broker
  std::string cluster = {};   ///< FLAME_CLUSTER of services: what its cluster must be called
};

/// Fails where the command is not found or the directory cannot be made; the text says where was
/// looked.
proto::Result<Launch> make_launch(const proto::Application& application, const LaunchPlace& place);

/// The folder of the running executable.
std::string program_directory();

}  // namespace flame::shims

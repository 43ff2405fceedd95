// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "shims/shim.hpp"

#include "proto/limits.hpp"
#include "shims/grpc/shim.hpp"
#include "shims/native.hpp"
#include "shims/rest/shim.hpp"
#include "shims/shell.hpp"

namespace flame::shims {

Failure output_too_large() {
  return {0, proto::Code::kTaskOutputTooLarge,
          "the output is above the limit of " + std::to_string(proto::kPayloadBytesMax) + " bytes"};
}

proto::Result<std::unique_ptr<Shim>> make_shim(const proto::Application& application, Launch launch,
                                               InstanceId instance, runtime::EventLoop& loop,
                                               Events& events) {
  if (application.shim == "native") return NativeShim::start(launch, instance, loop, events);
  if (application.shim == "shell") {
    return std::unique_ptr<Shim>(
        std::make_unique<ShellShim>(std::move(launch), instance, loop, events));
  }
  if (application.shim == "grpc") {
    return GrpcShim::start(application, launch, instance, loop, events);
  }
  if (application.shim == "rest")
    return RestShim::start(application, std::move(launch), instance, loop, events);
  return proto::Error{proto::Code::kUnsupported, "this executor has no shim `" + application.shim +
                                                     "`: use native, shell, grpc or rest"};
}

}  // namespace flame::shims

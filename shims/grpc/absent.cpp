// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "shims/grpc/client.hpp"

namespace flame::shims {

std::unique_ptr<GrpcClient> make_grpc_client(runtime::EventLoop&) { return nullptr; }

}  // namespace flame::shims

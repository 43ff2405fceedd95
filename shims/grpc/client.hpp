// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The calls of instance.proto over sockets that are connected already: what the grpc shim needs of
// gRPC, without its headers. client.cpp has them; a build without gRPC has absent.cpp instead.
//
// gRPC needs a thread to make progress. There is one for all services of an executor; it touches
// nothing but gRPC's queue and hands over what is completed through an eventfd. All below is called
// and answered in the executor's loop.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "proto/application.hpp"
#include "proto/ids.hpp"
#include "runtime/event_loop.hpp"
#include "shims/descriptor.hpp"
#include "shims/shim.hpp"

namespace flame::shims {

struct GrpcCall {
  enum class Method : uint8_t { kSessionEnter, kTaskInvoke, kSessionLeave };
  Method method = Method::kTaskInvoke;
  proto::TaskId task = 0;  ///< of an invoke
};

struct GrpcAnswer {
  enum class Kind : uint8_t {
    kAnswered,    ///< the service's own words: return_code, text, output
    kStatus,      ///< a gRPC status instead of an answer, in `text`; the connection goes on
    kTooLarge,    ///< the answer is above the limit of what is received
    kUnreadable,  ///< not what the contract has here; `text` says how
    kClosed,      ///< the connection is gone, and every later call with it
  };
  Kind kind = Kind::kAnswered;
  int32_t return_code = 0;
  std::string text;
  std::string output;

  bool ok() const { return kind == Kind::kAnswered && return_code == 0; }
};

/// A connected service. Its destructor forgets the calls that are not answered.
class GrpcConnection {
 public:
  using OnAnswer = std::function<void(const GrpcCall& call, const GrpcAnswer& answer)>;

  virtual ~GrpcConnection() = default;
  virtual void enter(const EnterSession& session, const proto::Application& application) = 0;
  virtual void invoke(proto::TaskId task, const std::string& session, std::string_view input) = 0;
  virtual void leave() = 0;
  /// What has arrived is still read; the other calls are answered kClosed.
  virtual void close() = 0;
};

class GrpcClient {
 public:
  virtual ~GrpcClient() = default;
  /// `on_answer` is called once for each call, never from within the call itself.
  virtual std::unique_ptr<GrpcConnection> connect(Descriptor socket,
                                                  GrpcConnection::OnAnswer on_answer) = 0;
};

/// Null where gRPC was left out of the build (FLAME_GRPC=OFF). gRPC itself starts with the first
/// connection. `loop` outlives it, it outlives its connections.
std::unique_ptr<GrpcClient> make_grpc_client(runtime::EventLoop& loop);

}  // namespace flame::shims

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// `flame-grpc-service`: the service of flmping behind the contract of the original Flame, so that
// `flmping --shim grpc` measures what the grpc shim costs. One thread, one call at a time, gRPC's
// core interface as in shims/grpc/client.cpp.

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "examples/services/ping.hpp"
#include "shims/grpc/instance.pb.h"

namespace {

enum Method : size_t { kEnter, kInvoke, kLeave };
constexpr std::array<const char*, 3> kMethods = {"/flame.v1.Instance/OnSessionEnter",
                                                 "/flame.v1.Instance/OnTaskInvoke",
                                                 "/flame.v1.Instance/OnSessionLeave"};

/// From the wait for it until gRPC has sent its answer.
struct Call {
  explicit Call(Method of) : method(of) { grpc_metadata_array_init(&metadata); }
  ~Call() {
    grpc_metadata_array_destroy(&metadata);
    if (request != nullptr) grpc_byte_buffer_destroy(request);
    if (answer != nullptr) grpc_byte_buffer_destroy(answer);
    if (call != nullptr) grpc_call_unref(call);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  Method method;
  grpc_call* call = nullptr;
  gpr_timespec deadline{};
  grpc_metadata_array metadata{};
  grpc_byte_buffer* request = nullptr;
  grpc_byte_buffer* answer = nullptr;
  int cancelled = 0;
};

template <class Message>
Message message_of(const Call& call) {
  Message message;
  grpc_byte_buffer_reader reader;
  if (call.request == nullptr || grpc_byte_buffer_reader_init(&reader, call.request) == 0)
    return message;
  grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
  message.ParseFromArray(GRPC_SLICE_START_PTR(all), static_cast<int>(GRPC_SLICE_LENGTH(all)));
  grpc_slice_unref(all);
  grpc_byte_buffer_reader_destroy(&reader);
  return message;
}

std::string entered(flame::services::Pong& pong, const Call& call) {
  flame::v1::Result result;
  try {
    pong.enter(message_of<flame::v1::SessionContext>(call).common_data());
  } catch (const std::exception& error) {
    result.set_return_code(1);
    result.set_message(error.what());
  }
  return result.SerializeAsString();
}

std::string invoked(const flame::services::Pong& pong, const Call& call) {
  flame::v1::TaskResult result;
  result.set_output(pong.answer(message_of<flame::v1::TaskContext>(call).task_id()));
  return result.SerializeAsString();
}

class Server {
 public:
  /// Exits if it cannot listen: without its socket the program is good for nothing.
  explicit Server(const std::string& socket) {
    grpc_init();
    // The executor bounds inputs: gRPC's own limit of 4 MiB is below that.
    grpc_arg unbounded{};
    unbounded.type = GRPC_ARG_INTEGER;
    unbounded.key = const_cast<char*>(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH);
    unbounded.value.integer = -1;
    grpc_channel_args arguments{1, &unbounded};
    server_ = grpc_server_create(&arguments, nullptr);
    queue_ = grpc_completion_queue_create_for_next(nullptr);
    grpc_server_register_completion_queue(server_, queue_, nullptr);
    for (size_t i = 0; i < kMethods.size(); i++) {
      methods_[i] = grpc_server_register_method(server_, kMethods[i], nullptr,
                                                GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    }
    auto* insecure = grpc_insecure_server_credentials_create();  // the socket is the user's own
    int bound = grpc_server_add_http2_port(server_, ("unix:" + socket).c_str(), insecure);
    grpc_server_credentials_release(insecure);
    if (bound == 0) {
      std::fprintf(stderr, "flame-grpc-service: cannot listen on %s\n", socket.c_str());
      std::exit(1);
    }
    grpc_server_start(server_);
  }

  /// For ever: the executor ends it with SIGTERM.
  [[noreturn]] void run() {
    for (auto method : {kEnter, kInvoke, kLeave}) expect(method);
    while (true) {
      auto event = grpc_completion_queue_next(queue_, gpr_inf_future(GPR_CLOCK_REALTIME), nullptr);
      auto* call = static_cast<Call*>(event.tag);
      if (call->answer != nullptr || event.success == 0) {
        delete call;
        continue;
      }
      expect(call->method);
      respond(*call);
    }
  }

 private:
  void expect(Method method) {
    auto* call = new Call(method);  // gRPC's until the queue gives it back
    grpc_server_request_registered_call(server_, methods_[method], &call->call, &call->deadline,
                                        &call->metadata, &call->request, queue_, queue_, call);
  }

  std::string answer_to(const Call& call) {
    switch (call.method) {
      case kEnter:
        return entered(pong_, call);
      case kInvoke:
        return invoked(pong_, call);
      default:
        return flame::v1::Result().SerializeAsString();
    }
  }

  void respond(Call& call) {
    std::string text = answer_to(call);
    grpc_slice slice = grpc_slice_from_copied_buffer(text.data(), text.size());
    call.answer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    std::array<grpc_op, 4> ops{};
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = call.answer;
    ops[2].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    ops[2].data.send_status_from_server.status = GRPC_STATUS_OK;
    ops[3].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    ops[3].data.recv_close_on_server.cancelled = &call.cancelled;
    grpc_call_start_batch(call.call, ops.data(), ops.size(), &call, nullptr);
  }

  grpc_server* server_ = nullptr;
  grpc_completion_queue* queue_ = nullptr;
  std::array<void*, kMethods.size()> methods_{};
  flame::services::Pong pong_;
};

}  // namespace

int main() {
  const char* socket = std::getenv("FLAME_INSTANCE_ENDPOINT");
  if (socket == nullptr) {
    std::fprintf(stderr,
                 "flame-grpc-service is started by flame-executor, with the socket to listen on in "
                 "FLAME_INSTANCE_ENDPOINT\n");
    return 2;
  }
  Server(socket).run();
}

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// flame-bench-grpc SOCKET CALLS IN_FLIGHT: a bare gRPC client of a service behind the grpc shim.
// One thread, nothing but OnTaskInvoke with 64 bytes. Prints one JSON object.

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

// A flame.v1.TaskContext: fields 1, 2 and 4, each a text of less than 128 bytes.
std::string task_context() {
  std::string message;
  auto field = [&](char number, const std::string& text) {
    message += static_cast<char>(number << 3 | 2);
    message += static_cast<char>(text.size());
    message += text;
  };
  field(1, "1000");
  field(2, "flmping-abcdef");
  field(4, std::string(64, 'p'));
  return message;
}

struct Client {
  grpc_completion_queue* queue;
  grpc_channel* channel;
  void* method;
  grpc_byte_buffer* request;
};

struct Call {
  explicit Call(const Client& client) {
    grpc_metadata_array_init(&initial);
    grpc_metadata_array_init(&trailing);
    auto forever = gpr_inf_future(GPR_CLOCK_REALTIME);
    call = grpc_channel_create_registered_call(client.channel, nullptr, 0, client.queue,
                                               client.method, forever, nullptr);
    std::array<grpc_op, 6> ops{};
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY;
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = client.request;
    ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &initial;
    ops[4].op = GRPC_OP_RECV_MESSAGE;
    ops[4].data.recv_message.recv_message = &received;
    ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[5].data.recv_status_on_client.trailing_metadata = &trailing;
    ops[5].data.recv_status_on_client.status = &status;
    ops[5].data.recv_status_on_client.status_details = &details;
    if (grpc_call_start_batch(call, ops.data(), ops.size(), this, nullptr) != GRPC_CALL_OK) abort();
  }
  ~Call() {
    grpc_metadata_array_destroy(&initial);
    grpc_metadata_array_destroy(&trailing);
    if (received != nullptr) grpc_byte_buffer_destroy(received);
    grpc_slice_unref(details);
    grpc_call_unref(call);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  grpc_call* call;
  grpc_metadata_array initial, trailing;
  grpc_byte_buffer* received = nullptr;
  grpc_status_code status = GRPC_STATUS_OK;
  grpc_slice details = grpc_empty_slice();
};

bool run(const Client& client, unsigned long calls, unsigned long in_flight) {
  unsigned long begun = 0, ended = 0;
  while (ended < calls) {
    while (begun < calls && begun - ended < in_flight) new Call(client), begun++;
    auto event =
        grpc_completion_queue_next(client.queue, gpr_inf_future(GPR_CLOCK_REALTIME), nullptr);
    auto* call = static_cast<Call*>(event.tag);
    ended++;
    bool failed = call->status != GRPC_STATUS_OK;
    if (failed) std::fprintf(stderr, "flame-bench-grpc: gRPC status %d\n", call->status);
    delete call;
    if (failed) return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "Usage: flame-bench-grpc SOCKET CALLS IN_FLIGHT\n");
    return 2;
  }
  auto calls = std::strtoul(argv[2], nullptr, 10), in_flight = std::strtoul(argv[3], nullptr, 10);
  grpc_init();
  Client client{};
  client.queue = grpc_completion_queue_create_for_next(nullptr);
  auto* plain = grpc_insecure_credentials_create();
  client.channel = grpc_channel_create(("unix:" + std::string(argv[1])).c_str(), plain, nullptr);
  client.method = grpc_channel_register_call(client.channel, "/flame.v1.Instance/OnTaskInvoke",
                                             nullptr, nullptr);
  std::string message = task_context();
  grpc_slice slice = grpc_slice_from_copied_buffer(message.data(), message.size());
  client.request = grpc_raw_byte_buffer_create(&slice, 1);
  if (!run(client, in_flight * 10, in_flight)) return 1;  // connected, and the server is warm
  auto from = std::chrono::steady_clock::now();
  if (!run(client, calls, in_flight)) return 1;
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
  std::printf(
      "{\"tasks\": %lu, \"in_flight\": %lu, \"seconds\": %.6f, \"tasks_per_second\": %.0f}\n",
      calls, in_flight, seconds, static_cast<double>(calls) / seconds);
  std::fflush(stdout);
  _Exit(0);  // what gRPC would clean up is the kernel's as well
}

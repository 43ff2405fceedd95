// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "shims/grpc/client.hpp"

// The core interface (C) and not grpc++: it compiles in a tenth of the time, copies payloads once
// less, and what our two threads share is ours to lock, where the thread sanitizer sees it.
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include "proto/limits.hpp"
#include "runtime/assert.hpp"
#include "shims/grpc/instance.pb.h"

namespace flame::shims {

namespace {

/// An output at its limit with its message around it.
constexpr int kReceiveBytesMax = static_cast<int>(proto::kPayloadBytesMax + 64 * proto::KiB);
/// The text of a status is metadata too: that of an exception may be long, and is cut only here.
constexpr int kMetadataBytesMax = 4 << 20;

/// gRPC gives the calls back before it hangs up on a service that does not speak HTTP/2.
constexpr int64_t kHangUpUs = 10'000;

constexpr std::array<const char*, 3> kMethods = {"/flame.v1.Instance/OnSessionEnter",
                                                 "/flame.v1.Instance/OnTaskInvoke",
                                                 "/flame.v1.Instance/OnSessionLeave"};

constexpr std::array<std::string_view, 17> kStatusNames = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

std::string_view view_of(const grpc_slice& slice) {
  return {reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(slice)), GRPC_SLICE_LENGTH(slice)};
}

// These come from a service, or from gRPC about the connection: the socket knows which. UNKNOWN is
// an exception in a service, and `Stream removed`.
bool may_be_the_connection(grpc_status_code status) {
  return status == GRPC_STATUS_INTERNAL || status == GRPC_STATUS_UNAVAILABLE ||
         status == GRPC_STATUS_CANCELLED || status == GRPC_STATUS_UNKNOWN;
}

class Connection;

/// Alive from start_batch until gRPC has given it back, whatever becomes of its connection.
struct Call {
  Call() {
    grpc_metadata_array_init(&initial);
    grpc_metadata_array_init(&trailing);
  }
  ~Call() {
    grpc_metadata_array_destroy(&initial);
    grpc_metadata_array_destroy(&trailing);
    if (request != nullptr) grpc_byte_buffer_destroy(request);
    if (received != nullptr) grpc_byte_buffer_destroy(received);
    grpc_slice_unref(details);
    if (call != nullptr) grpc_call_unref(call);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  GrpcCall what;
  Connection* connection = nullptr;  ///< null: nobody waits for it
  grpc_call* call = nullptr;
  grpc_metadata_array initial{}, trailing{};
  grpc_byte_buffer* request = nullptr;
  grpc_byte_buffer* received = nullptr;
  grpc_status_code status = GRPC_STATUS_OK;
  grpc_slice details = grpc_empty_slice();
};

/// gRPC's queue, the thread that waits at it, and the way from there into the loop.
class Client final : public GrpcClient {
 public:
  explicit Client(runtime::EventLoop& loop) : loop_(loop) {}
  ~Client() override;

  std::unique_ptr<GrpcConnection> connect(Descriptor socket,
                                          GrpcConnection::OnAnswer on_answer) override;
  grpc_completion_queue* queue() const { return queue_; }
  runtime::EventLoop& loop() { return loop_; }

 private:
  void start();
  void wait();
  void take();

  runtime::EventLoop& loop_;
  grpc_completion_queue* queue_ = nullptr;  ///< null: not started
  Descriptor wake_;
  std::thread thread_;
  std::mutex mutex_;
  std::vector<Call*> done_;  ///< under mutex_
};

class Connection final : public GrpcConnection {
 public:
  Connection(Client& client, Descriptor socket, OnAnswer on_answer);
  ~Connection() override;

  void enter(const EnterSession& session, const proto::Application& application) override;
  void invoke(proto::TaskId task, const std::string& session, std::string_view input) override;
  void leave() override;
  void close() override;
  void finish(std::unique_ptr<Call> call);

 private:
  template <class Message>
  void start(const GrpcCall& what, const Message& message);
  void decide();
  bool hung_up() const;
  GrpcAnswer answer_of(const Call& call) const;
  GrpcAnswer no_answer(const Call& call) const;

  Client& client_;
  OnAnswer on_answer_;
  Descriptor socket_;  ///< gRPC's own, once more: to see and to bring about its end
  grpc_channel* channel_ = nullptr;
  std::array<void*, kMethods.size()> methods_{};
  std::unordered_set<Call*> open_;
  /// Came with a status that may be about the connection, which stands so far.
  std::vector<std::unique_ptr<Call>> undecided_;
  runtime::EventLoop::TimerId decide_timer_ = 0;
};

// ---- the client
// ---------------------------------------------------------------------------------------------

Client::~Client() {
  if (queue_ == nullptr) return;
  // Connections are gone, so all calls are cancelled, and the queue ends once it gave them back.
  grpc_completion_queue_shutdown(queue_);
  thread_.join();
  loop_.remove_fd(wake_.get());
  for (auto* call : done_) delete call;
  grpc_completion_queue_destroy(queue_);
  grpc_shutdown_blocking();
}

void Client::start() {
  // What it would write about lost connections the shim says itself, with the service's name.
  gpr_set_log_function([](gpr_log_func_args*) {});
  grpc_init();
  queue_ = grpc_completion_queue_create_for_next(nullptr);
  wake_ = Descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  FLAME_ASSERT(wake_);
  loop_.add_fd(wake_.get(), true, false, [this](runtime::EventLoop::Ready) { take(); });
  thread_ = std::thread([this] { wait(); });
}

void Client::wait() {
  for (;;) {
    auto event = grpc_completion_queue_next(queue_, gpr_inf_future(GPR_CLOCK_REALTIME), nullptr);
    if (event.type == GRPC_QUEUE_SHUTDOWN) return;
    bool first;
    {
      std::lock_guard lock(mutex_);
      first = done_.empty();
      done_.push_back(static_cast<Call*>(event.tag));
    }
    if (first) eventfd_write(wake_.get(), 1);
  }
}

void Client::take() {
  eventfd_t ignored;
  eventfd_read(wake_.get(), &ignored);
  std::vector<Call*> done;
  {
    std::lock_guard lock(mutex_);
    done.swap(done_);
  }
  for (auto* given_back : done) {
    std::unique_ptr<Call> call(given_back);
    if (auto* connection = call->connection) connection->finish(std::move(call));
  }
}

std::unique_ptr<GrpcConnection> Client::connect(Descriptor socket,
                                                GrpcConnection::OnAnswer on_answer) {
  if (queue_ == nullptr) start();
  return std::make_unique<Connection>(*this, std::move(socket), std::move(on_answer));
}

// ---- a connection
// -------------------------------------------------------------------------------------------

Connection::Connection(Client& client, Descriptor socket, OnAnswer on_answer)
    : client_(client), on_answer_(std::move(on_answer)), socket_(std::move(socket)) {
  std::array<grpc_arg, 3> args;
  args[0].type = GRPC_ARG_INTEGER;
  args[0].key = const_cast<char*>(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH);
  args[0].value.integer = kReceiveBytesMax;
  args[1].type = GRPC_ARG_STRING;
  args[1].key = const_cast<char*>(GRPC_ARG_DEFAULT_AUTHORITY);
  args[1].value.string = const_cast<char*>("localhost");
  args[2].type = GRPC_ARG_INTEGER;
  args[2].key = const_cast<char*>(GRPC_ARG_MAX_METADATA_SIZE);
  args[2].value.integer = kMetadataBytesMax;
  grpc_channel_args all{args.size(), args.data()};
  auto* plain = grpc_insecure_credentials_create();
  channel_ = grpc_channel_create_from_fd("flame", dup(socket_.get()), plain, &all);
  grpc_channel_credentials_release(plain);
  for (size_t i = 0; i < kMethods.size(); i++) {
    methods_[i] = grpc_channel_register_call(channel_, kMethods[i], nullptr, nullptr);
  }
}

Connection::~Connection() {
  if (decide_timer_ != 0) client_.loop().cancel(decide_timer_);
  for (auto* call : open_) {
    call->connection = nullptr;
    grpc_call_cancel(call->call, nullptr);
  }
  grpc_channel_destroy(channel_);
}

void Connection::enter(const EnterSession& session, const proto::Application& application) {
  flame::v1::SessionContext message;
  message.set_session_id(session.session);
  auto* of = message.mutable_application();
  of->set_name(application.name);
  of->set_shim(flame::v1::Host);
  if (!application.image.empty()) of->set_image(application.image);
  of->set_command(application.command);
  if (!application.working_directory.empty()) {
    of->set_working_directory(application.working_directory);
  }
  auto url = application.extra.text_at("url"), installer = application.extra.text_at("installer");
  if (!url.empty()) of->set_url(url.data(), url.size());
  if (!installer.empty()) of->set_installer(installer.data(), installer.size());
  // A session without common data and one with empty common data are the same here; a service of
  // the original takes the first for "none" and may fail at the second.
  if (!session.common.empty()) {
    message.set_common_data(session.common.data(), session.common.size());
  }
  start({GrpcCall::Method::kSessionEnter, 0}, message);
}

void Connection::invoke(proto::TaskId task, const std::string& session, std::string_view input) {
  flame::v1::TaskContext message;
  message.set_task_id(std::to_string(task));
  message.set_session_id(session);
  message.set_input(input.data(), input.size());
  start({GrpcCall::Method::kTaskInvoke, task}, message);
}

void Connection::leave() { start({GrpcCall::Method::kSessionLeave, 0}, flame::v1::EmptyRequest()); }

void Connection::close() { shutdown(socket_.get(), SHUT_RDWR); }

template <class Message>
void Connection::start(const GrpcCall& what, const Message& message) {
  auto* call = new Call;  // gRPC's until it comes out of the queue
  call->what = what;
  call->connection = this;
  grpc_slice bytes = grpc_slice_malloc(message.ByteSizeLong());
  message.SerializeWithCachedSizesToArray(GRPC_SLICE_START_PTR(bytes));
  call->request = grpc_raw_byte_buffer_create(&bytes, 1);
  grpc_slice_unref(bytes);
  call->call = grpc_channel_create_registered_call(channel_, nullptr, 0, client_.queue(),
                                                   methods_[static_cast<size_t>(what.method)],
                                                   gpr_inf_future(GPR_CLOCK_REALTIME), nullptr);
  std::array<grpc_op, 6> ops{};
  ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
  ops[1].op = GRPC_OP_SEND_MESSAGE;
  ops[1].data.send_message.send_message = call->request;
  ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
  ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
  ops[3].data.recv_initial_metadata.recv_initial_metadata = &call->initial;
  ops[4].op = GRPC_OP_RECV_MESSAGE;
  ops[4].data.recv_message.recv_message = &call->received;
  ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
  ops[5].data.recv_status_on_client.trailing_metadata = &call->trailing;
  ops[5].data.recv_status_on_client.status = &call->status;
  ops[5].data.recv_status_on_client.status_details = &call->details;
  open_.insert(call);
  auto error = grpc_call_start_batch(call->call, ops.data(), ops.size(), call, nullptr);
  FLAME_ASSERT(error == GRPC_CALL_OK);
}

bool Connection::hung_up() const {
  pollfd at{socket_.get(), POLLRDHUP, 0};
  return poll(&at, 1, 0) > 0 && (at.revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0;
}

void Connection::finish(std::unique_ptr<Call> call) {
  open_.erase(call.get());
  if (!may_be_the_connection(call->status) || hung_up()) {
    return on_answer_(call->what, answer_of(*call));
  }
  undecided_.push_back(std::move(call));
  if (decide_timer_ != 0) return;
  auto& loop = client_.loop();
  decide_timer_ = loop.call_at(loop.now().mono_us + kHangUpUs, [this] { decide(); });
}

void Connection::decide() {
  decide_timer_ = 0;
  for (auto& call : std::exchange(undecided_, {})) on_answer_(call->what, answer_of(*call));
}

template <class Message>
bool parse(grpc_byte_buffer* buffer, Message& message) {
  grpc_byte_buffer_reader reader;
  if (buffer == nullptr || !grpc_byte_buffer_reader_init(&reader, buffer)) return false;
  grpc_slice bytes = grpc_byte_buffer_reader_readall(&reader);
  grpc_byte_buffer_reader_destroy(&reader);
  auto view = view_of(bytes);
  bool parsed = message.ParseFromArray(view.data(), static_cast<int>(view.size()));
  grpc_slice_unref(bytes);
  return parsed;
}

template <class Message>
GrpcAnswer unreadable(const Message& message) {
  return {GrpcAnswer::Kind::kUnreadable, 0,
          "it answered with bytes that are no " + message.GetTypeName(), ""};
}

GrpcAnswer Connection::answer_of(const Call& call) const {
  using Kind = GrpcAnswer::Kind;
  if (call.status != GRPC_STATUS_OK) return no_answer(call);
  if (call.what.method == GrpcCall::Method::kTaskInvoke) {
    flame::v1::TaskResult result;
    if (!parse(call.received, result)) return unreadable(result);
    return {Kind::kAnswered, result.return_code(), std::move(*result.mutable_message()),
            std::move(*result.mutable_output())};
  }
  flame::v1::Result result;
  if (!parse(call.received, result)) return unreadable(result);
  return {Kind::kAnswered, result.return_code(), std::move(*result.mutable_message()), ""};
}

GrpcAnswer Connection::no_answer(const Call& call) const {
  using Kind = GrpcAnswer::Kind;
  // A copy that libgrpc makes: the thread sanitizer does not see how it ordered its threads.
  char* copied = grpc_slice_to_c_string(call.details);
  std::string details(copied);
  gpr_free(copied);
  // gRPC's own words for it; its number is ours.
  bool too_large = call.status == GRPC_STATUS_RESOURCE_EXHAUSTED &&
                   details.find("vs. " + std::to_string(kReceiveBytesMax)) != std::string::npos;
  if (too_large) return {Kind::kTooLarge, 0, details, ""};
  auto number = static_cast<size_t>(call.status);
  std::string name =
      number < kStatusNames.size() ? std::string(kStatusNames[number]) : std::to_string(number);
  std::string text = "gRPC status " + name + ": " + details;
  if (!may_be_the_connection(call.status) || !hung_up()) return {Kind::kStatus, 0, text, ""};
  // INTERNAL it says where it hung up itself, as what came is not HTTP/2.
  bool garbage = call.status == GRPC_STATUS_INTERNAL;
  return {garbage ? Kind::kUnreadable : Kind::kClosed, 0, text, ""};
}

}  // namespace

std::unique_ptr<GrpcClient> make_grpc_client(runtime::EventLoop& loop) {
  return std::make_unique<Client>(loop);
}

}  // namespace flame::shims

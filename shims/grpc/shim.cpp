// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "shims/grpc/shim.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "proto/elements.hpp"
#include "proto/limits.hpp"

namespace flame::shims {

namespace {

using Kind = GrpcAnswer::Kind;
using Method = GrpcCall::Method;

/// How often a starting service is tried: a sixteenth of the time it has had, within these.
constexpr int64_t kConnectUsMin = 1'000, kConnectUsMax = 50'000;

Descriptor connect_to(const std::string& path, std::string& error) {
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);  // fits: SocketFolder::make
  if (socket &&
      connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return socket;
  }
  error = std::strerror(errno);
  return {};
}

std::string words_of(const GrpcAnswer& answer) {
  std::string text = answer.text.substr(0, proto::kReasonBytesMax);
  if (answer.kind == Kind::kAnswered && text.empty()) {
    return "return code " + std::to_string(answer.return_code) + " without a message";
  }
  return text;
}

}  // namespace

proto::Result<std::unique_ptr<Shim>> GrpcShim::start(const proto::Application& application,
                                                     const Launch& launch, InstanceId instance,
                                                     runtime::EventLoop& loop, Events& events) {
  if (launch.grpc == nullptr) {
    return proto::Error{proto::Code::kUnsupported,
                        "this executor was built without gRPC (FLAME_GRPC=OFF): run application `" +
                            application.name + "` on executors that have it"};
  }
  std::unique_ptr<GrpcShim> shim(new GrpcShim(application, *launch.grpc, instance, loop, events));
  if (auto made = shim->folder_.make(launch.socket_parent); !made) return made.error();
  Launch grpc = launch;
  grpc.environment.emplace_back("FLAME_SHIM", "grpc");
  grpc.environment.emplace_back("FLAME_INSTANCE_ENDPOINT", shim->folder_.socket());
  auto self = shim.get();
  auto started = shim->service_.start(grpc, {}, [self] { self->on_exit(); });
  if (!started) return started.error();
  shim->try_connect();
  return std::unique_ptr<Shim>(std::move(shim));
}

GrpcShim::GrpcShim(const proto::Application& application, GrpcClient& client, InstanceId instance,
                   runtime::EventLoop& loop, Events& events)
    : application_(application),
      client_(client),
      instance_(instance),
      loop_(loop),
      events_(events),
      service_(loop, log_),
      started_us_(loop.now().mono_us),
      queue_(application.concurrency, 1, instance, events) {}

GrpcShim::~GrpcShim() {
  if (connect_timer_ != 0) loop_.cancel(connect_timer_);
}

// ---- towards the service
// ------------------------------------------------------------------------------------

void GrpcShim::try_connect() {
  connect_timer_ = 0;
  auto socket = connect_to(folder_.socket(), not_connected_because_);
  if (!socket) {
    int64_t now = loop_.now().mono_us;
    int64_t after = std::clamp((now - started_us_) / 16, kConnectUsMin, kConnectUsMax);
    connect_timer_ = loop_.call_at(now + after, [this] { try_connect(); });
    return;
  }
  connection_ = client_.connect(
      std::move(socket),
      [this](const GrpcCall& call, const GrpcAnswer& answer) { on_answer(call, answer); });
  if (to_enter_) call_enter();
}

void GrpcShim::enter(const EnterSession& session) {
  session_ = session.session;
  log_.at(session.uid, {});
  to_enter_ = session;
  if (connection_) call_enter();
}

void GrpcShim::call_enter() {
  calls_++;
  connection_->enter(*to_enter_, application_);
  to_enter_.reset();
}

void GrpcShim::invoke(const std::vector<Frame>& frames) {
  queue_.add(frames);
  start_calls();
}

void GrpcShim::start_calls() {
  while (!exited_) {
    auto call = queue_.next();
    if (!call) return;
    calls_++;
    log_.at(log_.uid(), {call->first, 1});  // of several at a time the last one
    auto input = proto::ElementReader(call->inputs.view()).next().value_or("");
    connection_->invoke(call->first, session_, input);
  }
}

// The contract has no word for it: a task that runs goes on, and the executor's grace decides.
void GrpcShim::cancel(const proto::Run& run) { queue_.cancel(run); }

void GrpcShim::leave() {
  calls_++;
  connection_->leave();
}

void GrpcShim::terminate() { service_.terminate(); }

void GrpcShim::kill() {
  if (connection_) return service_.kill();
  service_.kill_for("does not listen on its socket FLAME_INSTANCE_ENDPOINT=" + folder_.socket() +
                    ": " + not_connected_because_);
}

// ---- from the service
// ---------------------------------------------------------------------------------------

void GrpcShim::on_answer(const GrpcCall& call, const GrpcAnswer& answer) {
  calls_--;
  switch (call.method) {
    case Method::kSessionEnter:
      on_entered(answer);
      break;
    case Method::kTaskInvoke:
      on_invoked(call.task, answer);
      break;
    case Method::kSessionLeave:
      on_left(answer);
      break;
  }
  if (exited_ && calls_ == 0) gone();
}

bool GrpcShim::broken(const GrpcAnswer& answer) {
  bool closed = answer.kind == Kind::kClosed, unreadable = answer.kind == Kind::kUnreadable;
  if (closed && !exited_) service_.expect_exit(answer.text);
  if (unreadable && !exited_) {
    service_.kill_for("broke the protocol: " + answer.text);
  }
  return closed || unreadable;
}

void GrpcShim::on_entered(const GrpcAnswer& answer) {
  if (broken(answer)) return;
  if (!answer.ok()) return events_.push_back({instance_, Entered{false, words_of(answer)}});
  events_.push_back({instance_, Entered{true, "", application_.concurrency == 1}});
}

void GrpcShim::on_invoked(proto::TaskId task, const GrpcAnswer& answer) {
  service_.read_output();  // what it wrote in the task, before the next one counts
  if (queue_.running() == 1) log_.at(log_.uid(), {});
  if (broken(answer)) return;
  std::optional<Failure> failure;
  if (answer.kind == Kind::kTooLarge) {
    failure = output_too_large();
  } else if (!answer.ok()) {
    failure = Failure{0, proto::Code::kTaskFailed, words_of(answer)};
  }
  queue_.answer(task, {{std::move(failure), answer.output}});
  start_calls();
}

// A service that fails to leave must not enter another session: it ends instead.
void GrpcShim::on_left(const GrpcAnswer& answer) {
  if (broken(answer)) return;
  if (!answer.ok()) return service_.terminate();
  events_.push_back({instance_, Left{}});
}

// ---- the end
// ------------------------------------------------------------------------------------------------

void GrpcShim::on_exit() {
  exited_ = true;
  if (connect_timer_ != 0) loop_.cancel(std::exchange(connect_timer_, 0));
  // What it answered before it died counts: the calls come back first, all of them now.
  if (connection_) connection_->close();
  if (calls_ == 0) gone();
}

void GrpcShim::gone() { events_.push_back({instance_, Exited{service_.explain_exit()}}); }

}  // namespace flame::shims

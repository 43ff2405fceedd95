// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "runtime/socket.hpp"

#include <zmq.h>

#include <array>
#include <cstring>

#include "proto/limits.hpp"
#include "runtime/assert.hpp"
#include "runtime/clock.hpp"

namespace flame::runtime {

namespace {

// Below this a copy is cheaper than a shared owner with its atomic counts. What comes in below 8
// KiB lies in libzmq's receive buffer of that size (its in_batch_size) and would keep all of it.
constexpr size_t kShareBytesMin = 8192;

void set(void* socket, int option, int value) {
  int failed = zmq_setsockopt(socket, option, &value, sizeof value);
  FLAME_ASSERT(failed == 0);
}

proto::Error socket_error(std::string_view verb, const std::string& endpoint) {
  int error = zmq_errno();
  return proto::Error{error == EADDRINUSE ? proto::Code::kAlreadyExists : proto::Code::kSystem,
                      "cannot " + std::string(verb) + " " + endpoint + ": " + zmq_strerror(error)};
}

proto::Error no_socket(int error) {
  return {proto::Code::kSystem, std::string("cannot open a socket: ") + zmq_strerror(error) +
                                    "; this process may open more files with ulimit -n"};
}

struct Frame {
  zmq_msg_t message;
  Frame() { zmq_msg_init(&message); }
  ~Frame() { zmq_msg_close(&message); }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;
  std::string_view view() {
    return {static_cast<const char*>(zmq_msg_data(&message)), zmq_msg_size(&message)};
  }
  bool more() const { return zmq_msg_more(&message) != 0; }
};

bool take(void* socket, Frame& frame) {
  int got;
  do {
    got = zmq_msg_recv(&frame.message, socket, ZMQ_DONTWAIT);
  } while (got < 0 && zmq_errno() == EINTR);
  return got >= 0;
}

void release(void*, void* hint) { delete static_cast<proto::Bytes*>(hint); }

int send_frame(void* socket, std::string_view bytes, int flags) {
  int sent;
  do {
    sent = zmq_send(socket, bytes.data(), bytes.size(), flags | ZMQ_DONTWAIT);
  } while (sent < 0 && zmq_errno() == EINTR);
  return sent;
}

int send_payload(void* socket, const proto::Bytes& payload) {
  if (payload.size() < kShareBytesMin) return send_frame(socket, payload.view(), 0);
  zmq_msg_t message;
  auto owner = std::make_unique<proto::Bytes>(payload);
  // libzmq frees on its own thread; the bytes are immutable and their count is atomic.
  zmq_msg_init_data(&message, const_cast<char*>(payload.data()), payload.size(), release,
                    owner.release());
  int sent;
  do {
    sent = zmq_msg_send(&message, socket, ZMQ_DONTWAIT);
  } while (sent < 0 && zmq_errno() == EINTR);
  if (sent < 0) zmq_msg_close(&message);
  return sent;
}

Sent failure() { return zmq_errno() == EHOSTUNREACH ? Sent::kUnroutable : Sent::kFull; }

}  // namespace

SocketContext::SocketContext() {
  seed_libzmq();
  handle_ = zmq_ctx_new();
  FLAME_ASSERT(handle_ != nullptr);
  zmq_ctx_set(handle_, ZMQ_MAX_SOCKETS, 1023);
}
SocketContext::~SocketContext() { zmq_ctx_term(handle_); }

Socket::Socket(SocketContext& context, Kind kind)
    : handle_(zmq_socket(context.handle(), kind == Kind::kRouter ? ZMQ_ROUTER : ZMQ_DEALER)),
      kind_(kind) {
  if (handle_ == nullptr) {  // no descriptor left, most likely; bind() and connect() say so
    open_error_ = zmq_errno();
    return;
  }
  // Credit and windows bound what is outstanding; a high-water mark would only turn that into loss.
  set(handle_, ZMQ_SNDHWM, 100'000);
  set(handle_, ZMQ_RCVHWM, 100'000);
  int64_t message_max = proto::kMessageBytesMax;
  zmq_setsockopt(handle_, ZMQ_MAXMSGSIZE, &message_max, sizeof message_max);
  set(handle_, ZMQ_HANDSHAKE_IVL, 3000);
  // A dead host is noticed by the kernel. ZMTP's own heartbeat would do it as well, but libzmq 4.3
  // walks over all timers of all connections for each one that it cancels (poller_base.cpp), and a
  // heartbeat cancels two: with a few thousand connections its thread did nothing else.
  set(handle_, ZMQ_TCP_KEEPALIVE, 1);
  set(handle_, ZMQ_TCP_KEEPALIVE_IDLE, 2);
  set(handle_, ZMQ_TCP_KEEPALIVE_INTVL, 2);
  set(handle_, ZMQ_TCP_KEEPALIVE_CNT, 2);
  set(handle_, ZMQ_TCP_MAXRT, 6000);
  if (kind == Kind::kRouter) {
    set(handle_, ZMQ_ROUTER_MANDATORY, 1);
    set(handle_, ZMQ_BACKLOG, 1024);
    set(handle_, ZMQ_LINGER, 0);
  } else {
    set(handle_, ZMQ_IMMEDIATE, 1);
    set(handle_, ZMQ_RECONNECT_IVL, 50);
    set(handle_, ZMQ_RECONNECT_IVL_MAX, 1000);
    set(handle_, ZMQ_LINGER, 500);
    // 16 random bytes with a first one that is not zero: nobody can be given or claim the same.
    std::string identity = random_bytes(16);
    identity[0] = 'f';
    zmq_setsockopt(handle_, ZMQ_ROUTING_ID, identity.data(), identity.size());
  }
}

Socket::~Socket() {
  if (handle_ != nullptr) zmq_close(handle_);
}

proto::Status Socket::bind(const std::string& endpoint) {
  if (handle_ == nullptr) return no_socket(open_error_);
  if (zmq_bind(handle_, endpoint.c_str()) == 0) return {};
  return socket_error("listen on", endpoint);
}

proto::Status Socket::connect(const std::string& endpoint) {
  if (handle_ == nullptr) return no_socket(open_error_);
  if (zmq_connect(handle_, endpoint.c_str()) == 0) return {};
  return socket_error("connect to", endpoint);
}

std::string Socket::endpoint() const {
  std::array<char, 512> text{};
  size_t size = text.size();
  if (zmq_getsockopt(handle_, ZMQ_LAST_ENDPOINT, text.data(), &size) != 0) return "";
  return text.data();
}

bool Socket::receive(Received& out) {
  known_readable_.reset();
  out.peer.clear();
  out.header.clear();
  out.payload = {};
  out.frames = 0;
  auto frame = std::make_shared<Frame>();
  if (!take(handle_, *frame)) return false;
  if (kind_ == Kind::kRouter) {
    out.peer = frame->view();
    if (!frame->more() || !take(handle_, *frame)) return true;
  }
  for (;;) {
    out.frames++;
    if (out.frames == 1) {
      out.header = frame->view();
    } else if (out.frames == 2) {
      std::string_view view = frame->view();
      out.payload = view.size() < kShareBytesMin ? proto::Bytes::copy(view)
                                                 : proto::Bytes::share(frame, view);
    }
    // The rest of a message that is not ours is read off and dropped.
    bool more = frame->more();
    if (out.frames == 2 && more) frame = std::make_shared<Frame>();
    if (!more || !take(handle_, *frame)) return true;
  }
}

Sent Socket::send(const std::string& peer, const std::string& header, const proto::Bytes* payload) {
  known_readable_.reset();
  // EAGAIN and EHOSTUNREACH come with the first frame; after it the rest is accepted.
  if (kind_ == Kind::kRouter && send_frame(handle_, peer, ZMQ_SNDMORE) < 0) return failure();
  if (send_frame(handle_, header, payload != nullptr ? ZMQ_SNDMORE : 0) < 0) return failure();
  if (payload != nullptr && send_payload(handle_, *payload) < 0) return failure();
  return Sent::kYes;
}

bool Socket::readable() {
  if (known_readable_) return *known_readable_;
  int events = 0;
  size_t size = sizeof events;
  known_readable_ =
      zmq_getsockopt(handle_, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN) != 0;
  return *known_readable_;
}

int Socket::fd() const {
  int fd = -1;
  size_t size = sizeof fd;
  zmq_getsockopt(handle_, ZMQ_FD, &fd, &size);
  return fd;
}

}  // namespace flame::runtime

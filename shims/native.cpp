// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "shims/native.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "proto/elements.hpp"
#include "proto/limits.hpp"
#include "proto/text.hpp"

namespace flame::shims {

namespace {

using native::kHeadBytes;
using native::Type;

constexpr size_t kBufferBytes = 128 * 1024;
/// From here on a message becomes the owner of the buffer instead of being copied out of it.
constexpr size_t kTakeOverBytes = 1024 * 1024;
/// What one call of the loop reads, so that one service cannot keep the others waiting.
constexpr size_t kReadBytesMax = 4 * 1024 * 1024;
constexpr int kSocketBufferBytes = 1024 * 1024;
constexpr size_t kPiecesMax = 32;

}  // namespace

proto::Result<std::unique_ptr<Shim>> NativeShim::start(const Launch& launch, InstanceId instance,
                                                       runtime::EventLoop& loop, Events& events) {
  std::array<int, 2> ends;
  Pipe cancels;
  if (!open_pipe(cancels)) return no_descriptors();
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return no_descriptors();
  Descriptor ours(ends[0]), theirs(ends[1]);
  set_nonblocking(cancels.read.get());
  set_nonblocking(cancels.write.get());
  // O_NONBLOCK belongs to an end, not to the pair: the service's stays blocking.
  set_nonblocking(ours.get());
  for (int fd : {ours.get(), theirs.get()}) {
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSocketBufferBytes, sizeof kSocketBufferBytes);
  }

  std::unique_ptr<NativeShim> shim(new NativeShim(instance, loop, events, std::move(ours)));
  Launch native = launch;
  native.environment.emplace_back("FLAME_SHIM", "native");
  native.environment.emplace_back(native::kInstanceFdName, std::to_string(native::kInstanceFd));
  native.environment.emplace_back(native::kCancelFdName, std::to_string(native::kCancelFd));
  auto self = shim.get();
  auto started = shim->service_.start(
      native, {{theirs.get(), native::kInstanceFd}, {cancels.read.get(), native::kCancelFd}},
      [self] { self->on_exit(); });
  if (!started) return started.error();
  shim->cancels_ = std::move(cancels.write);
  return std::unique_ptr<Shim>(std::move(shim));
}

NativeShim::NativeShim(InstanceId instance, runtime::EventLoop& loop, Events& events,
                       Descriptor socket)
    : instance_(instance),
      loop_(loop),
      events_(events),
      socket_(std::move(socket)),
      service_(loop, log_),
      buffer_(kBufferBytes, '\0') {
  loop_.add_fd(socket_.get(), true, false, [this](runtime::EventLoop::Ready ready) {
    if (ready.writable) write_some();
    if (ready.readable) read_some();
  });
}

NativeShim::~NativeShim() { close_socket(); }

// ---- towards the service
// ------------------------------------------------------------------------------------

void NativeShim::enter(const EnterSession& session) {
  std::string head;
  size_t texts = 3 * sizeof(uint32_t) + session.session.size() + session.application.size();
  native::put_head(head, Type::kEnter, texts + session.common.size());
  native::put_text(head, session.session);
  native::put_text(head, session.application);
  native::put(head, static_cast<uint32_t>(session.common.size()));
  entering_ = true;
  log_.at(session.uid, {});
  queue(proto::Bytes::own(std::move(head)));
  queue(session.common);
  write_some();
}

void NativeShim::invoke(const std::vector<Frame>& frames) {
  for (const auto& frame : frames) {
    std::string head;
    native::put_head(
        head, frame.next ? Type::kNext : Type::kInvoke,
        sizeof frame.first + sizeof frame.count + sizeof frame.attempt + frame.elements.size());
    native::put(head, frame.first);
    native::put(head, frame.count);
    native::put(head, frame.attempt);
    expected_.push_back({frame.first, frame.count});
    queue(proto::Bytes::own(std::move(head)));
    queue(frame.elements);
  }
  note_tasks();
  write_some();
}

void NativeShim::leave() {
  std::string head;
  native::put_head(head, Type::kLeave, 0);
  leaving_ = true;
  queue(proto::Bytes::own(std::move(head)));
  write_some();
}

// A service that never reads them must not keep us: what does not fit the pipe is not said, and the
// grace decides.
void NativeShim::cancel(const proto::Run& run) {
  std::string record;
  native::put(record, run.first);
  native::put(record, run.count);
  (void)!::write(cancels_.get(), record.data(), record.size());
}

void NativeShim::terminate() { service_.terminate(); }
void NativeShim::kill() { service_.kill(); }

void NativeShim::queue(proto::Bytes bytes) {
  if (!bytes.empty()) outgoing_.push_back(std::move(bytes));
}

void NativeShim::write_some() {
  while (socket_ && !outgoing_.empty()) {
    std::array<iovec, kPiecesMax> pieces;
    size_t count = std::min(outgoing_.size(), kPiecesMax);
    for (size_t i = 0; i < count; i++) {
      pieces[i] = {const_cast<char*>(outgoing_[i].data()), outgoing_[i].size()};
    }
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = count;
    ssize_t sent = sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN && errno != ENOBUFS) return;  // the reading side will say why
    if (sent < 0) break;
    auto left = static_cast<size_t>(sent);
    while (left > 0 && left >= outgoing_.front().size()) {
      left -= outgoing_.front().size();
      outgoing_.pop_front();
    }
    if (left > 0) {
      auto& front = outgoing_.front();
      front = front.slice(left, front.size() - left);
    }
  }
  if (socket_) loop_.change_fd(socket_.get(), true, !outgoing_.empty());
}

// ---- from the service
// ---------------------------------------------------------------------------------------

void NativeShim::read_some() {
  for (size_t total = 0; total < kReadBytesMax && socket_;) {
    size_t before = filled_;
    bool more = receive();
    total += filled_ - before + 1;
    if (!parse() || !more) return;
  }
}

// False if there is nothing more to read now.
bool NativeShim::receive() {
  size_t room = buffer_.size() - filled_;
  ssize_t got = recv(socket_.get(), buffer_.data() + filled_, room, MSG_DONTWAIT);
  if (got > 0) {
    filled_ += static_cast<size_t>(got);
    return static_cast<size_t>(got) == room;
  }
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  peer_closed();
  return false;
}

bool NativeShim::parse() {
  for (;;) {
    if (skipping_ > 0) {
      uint64_t skip = std::min<uint64_t>(skipping_, filled_ - parsed_);
      parsed_ += skip;
      skipping_ -= skip;
    }
    size_t have = filled_ - parsed_;
    if (have < kHeadBytes) break;
    uint32_t size;
    std::memcpy(&size, buffer_.data() + parsed_, sizeof size);
    auto type = static_cast<Type>(buffer_[parsed_ + native::kSizeBytes]);
    if (size == 0) return violation("a message of size 0");
    if (size > native::kMessageBytesMax) {
      if (have < kHeadBytes + 16) break;
      if (!skip_too_large(size)) return false;
      continue;
    }
    size_t whole = native::kSizeBytes + size;
    if (have < whole) {
      if (whole > buffer_.size()) {
        // Exactly as large as the message: nothing of the next one can be behind it.
        buffer_.erase(0, parsed_);
        filled_ -= parsed_;
        parsed_ = 0;
        buffer_.resize(whole);
      }
      break;
    }
    if (!parse_message(type, parsed_ + kHeadBytes, parsed_ + whole)) return false;
    parsed_ += whole;
  }
  if (parsed_ >= filled_) {
    parsed_ = filled_ = 0;
    if (buffer_.size() != kBufferBytes) buffer_ = std::string(kBufferBytes, '\0');
  } else if (parsed_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + parsed_, filled_ - parsed_);
    filled_ -= parsed_;
    parsed_ = 0;
  }
  return true;
}

bool NativeShim::parse_message(Type type, size_t begin, size_t end) {
  native::Reader reader(std::string_view(buffer_).substr(begin, end - begin));
  if (type == native::kEntered && entering_) {
    auto ok = reader.number<uint8_t>();
    auto message = reader.text().substr(0, proto::kReasonBytesMax);
    if (!reader.ok()) return violation("an ENTERED that ends too early");
    entering_ = false;
    events_.push_back(
        {instance_, Entered{ok != 0, std::string(message), (ok & native::kTakesNext) != 0}});
    return true;
  }
  if (type == native::kResults && !expected_.empty()) return parse_results(reader, end);
  if (type == Type::kProgress) return parse_progress(reader);
  if (type == native::kLeft && leaving_) {
    leaving_ = false;
    events_.push_back({instance_, Left{}});
    return true;
  }
  return violation("a message of type " + std::to_string(static_cast<unsigned>(type)) +
                   " that nothing asked for");
}

bool NativeShim::parse_results(native::Reader reader, size_t end) {
  Results results;
  results.first = reader.number<uint64_t>();
  results.count = reader.number<uint32_t>();
  results.service_us = reader.number<uint64_t>();
  auto failures = reader.number<uint32_t>();
  const auto& expected = expected_.front();
  if (!reader.ok() || results.first != expected.first || results.count == 0 ||
      results.count > expected.count || failures > results.count) {
    return violation("results that are not those of the tasks it was given");
  }
  for (uint32_t i = 0; i < failures; i++) {
    auto index = reader.number<uint32_t>();
    auto reason = reader.text().substr(0, proto::kReasonBytesMax);
    bool rising = results.failures.empty() || results.failures.back().index < index;
    if (!reader.ok() || index >= results.count || !rising) return violation("bad failures");
    results.failures.push_back({index, proto::Code::kTaskFailed, std::string(reason)});
  }
  auto elements = reader.rest();
  if (!proto::is_elements(elements, results.count)) {
    return violation("results whose elements do not fit their count");
  }
  if (elements.size() > proto::kPayloadBytesMax &&
      proto::largest_element(elements, results.count) > proto::kPayloadBytesMax) {
    if (results.count > 1) return violation("several results with one above the output limit");
    results.failures = {output_too_large()};
    std::string empty;
    proto::append_element(empty, "");
    results.elements = proto::Bytes::own(std::move(empty));
  } else {
    results.elements = take_elements(end - elements.size(), end);
  }
  answered(results.count);
  events_.push_back({instance_, std::move(results)});
  return true;
}

// Of a task that was answered meanwhile it is not wrong, but late.
bool NativeShim::parse_progress(native::Reader reader) {
  Progressed progress;
  progress.task = reader.number<uint64_t>();
  progress.percent = reader.number<uint8_t>();
  progress.text = reader.text().substr(0, proto::kProgressTextBytesMax);
  if (!reader.ok()) return violation("a PROGRESS that ends too early");
  events_.push_back({instance_, std::move(progress)});
  return true;
}

bool NativeShim::skip_too_large(uint64_t size) {
  native::Reader reader(std::string_view(buffer_).substr(parsed_, filled_ - parsed_));
  reader.number<uint32_t>();
  auto type = static_cast<Type>(reader.number<uint8_t>());
  Results results;
  results.first = reader.number<uint64_t>();
  results.count = reader.number<uint32_t>();
  if (type != native::kResults || expected_.empty() || results.count != 1 ||
      results.first != expected_.front().first) {
    return violation("a message of " + std::to_string(size) + " bytes, above the limit");
  }
  results.failures = {{0, proto::Code::kTaskOutputTooLarge,
                       "the output of about " + std::to_string(size) +
                           " bytes is above the limit of " +
                           std::to_string(proto::kPayloadBytesMax) + " bytes"}};
  std::string empty;
  proto::append_element(empty, "");
  results.elements = proto::Bytes::own(std::move(empty));
  skipping_ = native::kSizeBytes + size;
  answered(1);
  events_.push_back({instance_, std::move(results)});
  return true;
}

proto::Bytes NativeShim::take_elements(size_t begin, size_t end) {
  if (end == filled_ && end == buffer_.size() && end - begin >= kTakeOverBytes) {
    auto whole = proto::Bytes::own(std::move(buffer_));
    buffer_ = std::string(kBufferBytes, '\0');  // nothing was behind it: parse() begins anew
    return whole.slice(begin, end - begin);
  }
  return proto::Bytes::copy(std::string_view(buffer_).substr(begin, end - begin));
}

void NativeShim::answered(uint32_t count) {
  auto& expected = expected_.front();
  // What it wrote in these tasks is read before the next ones count: nothing, for a service that
  // writes nothing.
  if (!log_.empty() || expected.count == 1) service_.read_output();
  expected.first += count;
  expected.count -= count;
  if (expected.count == 0) expected_.pop_front();
  note_tasks();
}

// Which of a frame's tasks runs only the service knows.
void NativeShim::note_tasks() {
  bool none = expected_.empty();
  log_.at(log_.uid(),
          none ? proto::Run{} : proto::Run{expected_.front().first, expected_.front().count});
}

// ---- the end
// ------------------------------------------------------------------------------------------------

bool NativeShim::violation(const std::string& what) {
  close_socket();
  service_.kill_for("broke the protocol: it sent " + what);
  return false;
}

void NativeShim::close_socket() {
  if (!socket_) return;
  loop_.remove_fd(socket_.get());
  socket_.reset();
}

void NativeShim::peer_closed() {
  close_socket();
  service_.expect_exit();
}

void NativeShim::on_exit() {
  read_some();  // what it answered before it died counts
  close_socket();
  events_.push_back({instance_, Exited{service_.explain_exit()}});
}

}  // namespace flame::shims

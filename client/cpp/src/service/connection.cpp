// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "service/connection.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "proto/limits.hpp"

namespace flame::service {

namespace native = shims::native;

namespace {
constexpr size_t kBufferBytes = 256 * 1024;
/// Of RESULTS before the failures: first, count, us, their number.
constexpr size_t kResultsFieldBytes = 8 + 4 + 8 + 4;
constexpr size_t kResultsHeadBytes = native::kHeadBytes + kResultsFieldBytes;
}  // namespace

Connection::Connection(int fd) : fd_(fd), in_(kBufferBytes, '\0') { out_.reserve(2 * kFlushBytes); }

std::optional<Incoming> Connection::next() {
  if (!read_more(native::kHeadBytes)) return std::nullopt;
  uint32_t size;
  std::memcpy(&size, in_.data() + parsed_, sizeof size);
  if (size == 0 || !read_more(native::kSizeBytes + size)) return std::nullopt;
  auto type = static_cast<native::Type>(in_[parsed_ + native::kSizeBytes]);
  std::string_view body(in_.data() + parsed_ + native::kHeadBytes, size - 1);
  parsed_ += native::kSizeBytes + size;
  return Incoming{type, body};
}

// True when `need` bytes lie at parsed_; false at the end of the connection.
bool Connection::read_more(size_t need) {
  if (filled_ - parsed_ >= need) return true;
  write_out();
  std::memmove(in_.data(), in_.data() + parsed_, filled_ - parsed_);
  filled_ -= parsed_;
  parsed_ = 0;
  if (need > in_.size()) in_.resize(need);
  if (in_.size() > kBufferBytes && std::max(need, filled_) <= kBufferBytes) {
    in_.resize(kBufferBytes);
    in_.shrink_to_fit();
  }
  while (filled_ < need && !gone_) {
    ssize_t got = recv(fd_, in_.data() + filled_, in_.size() - filled_, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) gone_ = true;
    if (got > 0) filled_ += static_cast<size_t>(got);
  }
  return !gone_;
}

void Connection::entered(bool ok, std::string_view message) {
  message = message.substr(0, proto::kReasonBytesMax);
  native::put_head(out_, native::kEntered, 1 + sizeof(uint32_t) + message.size());
  uint8_t bits = native::kOk | native::kTakesNext;
  native::put(out_, ok ? bits : uint8_t{0});
  native::put_text(out_, message);
}

void Connection::left() { native::put_head(out_, native::kLeft, 0); }

void Connection::progress(uint64_t task, unsigned percent, std::string_view text) {
  // Nothing answered in between: the time since then is still that of the next answer.
  bool answering = answering_, none = count_ == 0;
  int64_t began_us = began_us_;
  if (answering) end_results();
  text = text.substr(0, proto::kProgressTextBytesMax);
  size_t size = sizeof task + 1 + sizeof(uint32_t) + text.size();
  native::put_head(out_, native::Type::kProgress, size);
  native::put(out_, task);
  native::put(out_, static_cast<uint8_t>(std::min(percent, 100u)));
  native::put_text(out_, text);
  write_out();
  if (!answering) return;
  begin_results(first_ + count_);
  if (none) began_us_ = began_us;
}

void Connection::begin_results(uint64_t first) {
  answering_ = true;
  first_ = first;
  count_ = failure_count_ = 0;
  failures_.clear();
  results_at_ = out_.size();
  out_.append(kResultsHeadBytes, '\0');
  flush_at_ms_ = coarse_ms() + kFlushMs;
  began_us_ = exact_us();
}

void Connection::add_failure(std::string_view reason) {
  native::put(failures_, count_);
  native::put_text(failures_, reason.substr(0, proto::kReasonBytesMax));
  failure_count_++;
  add_output("");
}

void Connection::end_results() {
  answering_ = false;
  if (count_ == 0) {
    out_.resize(results_at_);
    return;
  }
  std::string head;
  head.reserve(kResultsHeadBytes);
  size_t elements = out_.size() - results_at_ - kResultsHeadBytes;
  native::put_head(head, native::kResults, kResultsFieldBytes + failures_.size() + elements);
  native::put(head, first_);
  native::put(head, count_);
  native::put(head, static_cast<uint64_t>(std::max<int64_t>(1, exact_us() - began_us_)));
  native::put(head, failure_count_);
  out_.replace(results_at_, kResultsHeadBytes, head);
  if (!failures_.empty()) out_.insert(results_at_ + kResultsHeadBytes, failures_);
  if (out_.size() >= kFlushBytes) write_out();
}

void Connection::flush_results() {
  uint64_t next = first_ + count_;
  end_results();
  write_out();
  begin_results(next);
}

void Connection::write_out() {
  for (size_t sent = 0; sent < out_.size() && !gone_;) {
    ssize_t wrote = send(fd_, out_.data() + sent, out_.size() - sent, MSG_NOSIGNAL);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) gone_ = true;
    if (wrote > 0) sent += static_cast<size_t>(wrote);
  }
  out_.clear();
  if (out_.capacity() > 8 * kFlushBytes) {
    out_.shrink_to_fit();
    out_.reserve(2 * kFlushBytes);
  }
}

}  // namespace flame::service

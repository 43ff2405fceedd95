// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The service's end of native_protocol.hpp, blocking: a service has one thread and nothing else to
// do. One read brings as much as there is, and the answers to all of it leave with one write, but
// none waits long for others.

#include <time.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proto/elements.hpp"
#include "shims/native_protocol.hpp"

namespace flame::service {

struct Incoming {
  shims::native::Type type;
  std::string_view body;  ///< valid until the next call of next()
};

class Connection {
 public:
  explicit Connection(int fd);

  /// Writes what is unsent if it has to wait. Nothing: the executor is gone.
  std::optional<Incoming> next();

  void entered(bool ok, std::string_view message);
  void left();

  /// Then an output or a failure for each task of the frame, in order.
  void begin_results(uint64_t first);
  void add_output(std::string_view output) {
    proto::append_element(out_, output);
    count_++;
    if (out_.size() >= kFlushBytes || late()) flush_results();
  }
  void add_failure(std::string_view reason);
  void end_results();
  /// What was answered so far leaves now.
  void flush() { write_out(); }
  /// Leaves at once, behind the answers so far.
  void progress(uint64_t task, unsigned percent, std::string_view text);

 private:
  static constexpr size_t kFlushBytes = 256 * 1024;
  /// A result does not wait longer than this for the others of its frame.
  static constexpr int64_t kFlushMs = 8;

  bool late() const { return coarse_ms() >= flush_at_ms_; }
  // A tick of the kernel is exact enough and costs a quarter of the exact clock.
  static int64_t coarse_ms() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
  }
  static int64_t exact_us() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000 + now.tv_nsec / 1000;
  }
  void flush_results();
  void write_out();
  bool read_more(size_t need);

  int fd_;
  bool gone_ = false;
  std::string in_;
  size_t filled_ = 0, parsed_ = 0;
  std::string out_;
  std::string failures_;
  bool answering_ = false;  ///< between begin_results() and end_results()
  size_t results_at_ = 0;   ///< where the head of the results that are being written begins in out_
  uint64_t first_ = 0;
  uint32_t count_ = 0, failure_count_ = 0;
  int64_t flush_at_ms_ = 0;
  int64_t began_us_ = 0;
};

}  // namespace flame::service

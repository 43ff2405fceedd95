// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// For services that are called task by task (or frame by frame) instead of reading frames
// themselves: which call is due, and what its answer is as Results. Of a frame at most one call
// runs at a time, so its results are in order; of several frames as many as are allowed.

#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <vector>

#include "proto/bytes.hpp"
#include "shims/shim.hpp"

namespace flame::shims {

class CallQueue {
 public:
  struct Call {
    proto::TaskId first = 0;
    uint32_t count = 0;
    proto::Attempt attempt = 1;
    proto::Bytes inputs;  ///< elements
  };
  struct Answer {
    std::optional<Failure> failure;
    std::string_view output;
  };

  /// `calls_max` at a time, each for up to `tasks_max` tasks.
  CallQueue(uint64_t calls_max, uint32_t tasks_max, InstanceId instance, Events& events)
      : calls_max_(calls_max), tasks_max_(tasks_max), instance_(instance), events_(events) {}

  void add(const std::vector<Frame>& frames);
  /// What is not called for yet of these is answered without a call.
  void cancel(const proto::Run& run) {
    for (auto& given : frames_) given.cancelled.push_back(run);
  }
  bool is_cancelled(proto::TaskId first);

  /// The next one to make, if one may be made now. It runs until it is answered.
  std::optional<Call> next();
  /// Of the call that began with this task; as many answers as it had tasks. Failures over the
  /// limit of an output are made here.
  void answer(proto::TaskId first, const std::vector<Answer>& answers);
  /// How many run.
  uint64_t running() const { return running_; }

 private:
  /// What is not answered of a frame.
  struct Given {
    proto::TaskId next = 0;  ///< the first task without an answer
    uint32_t left = 0;
    proto::Attempt attempt = 1;
    proto::Bytes inputs;  ///< of those
    bool waits = false;   ///< Frame::next
    bool running = false;
    std::vector<proto::Run> cancelled;
    bool unwanted() const;
  };

  std::deque<Given>::iterator running_with(proto::TaskId first);
  void tell(Given& given, const Answer& answer);

  uint64_t calls_max_;
  uint32_t tasks_max_;
  InstanceId instance_;
  Events& events_;
  std::deque<Given> frames_;
  uint64_t running_ = 0;
};

}  // namespace flame::shims

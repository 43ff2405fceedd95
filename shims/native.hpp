// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// A long-lived service process that speaks native_protocol.hpp. Neither side ever waits for the
// other: what does not fit the socket is queued here, and answers are read whenever they come.

#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "proto/bytes.hpp"
#include "shims/descriptor.hpp"
#include "shims/native_protocol.hpp"
#include "shims/service_process.hpp"
#include "shims/shim.hpp"

namespace flame::shims {

class NativeShim final : public Shim {
 public:
  static proto::Result<std::unique_ptr<Shim>> start(const Launch& launch, InstanceId instance,
                                                    runtime::EventLoop& loop, Events& events);
  ~NativeShim() override;

  void enter(const EnterSession& session) override;
  void invoke(const std::vector<Frame>& frames) override;
  void cancel(const proto::Run& run) override;
  void leave() override;
  void terminate() override;
  void kill() override;

 private:
  struct Expected {
    proto::TaskId first;
    uint32_t count;
  };

  NativeShim(InstanceId instance, runtime::EventLoop& loop, Events& events, Descriptor socket);

  void queue(proto::Bytes bytes);
  void write_some();
  void read_some();
  bool receive();
  /// Takes complete messages out of the buffer; false after a violation.
  bool parse();
  bool parse_message(native::Type type, size_t begin, size_t end);
  bool parse_results(native::Reader reader, size_t end);
  bool parse_progress(native::Reader reader);
  void note_tasks();
  /// The answer to one task is above what is received as a whole: skip it, fail the task.
  bool skip_too_large(uint64_t size);
  proto::Bytes take_elements(size_t begin, size_t end);
  void answered(uint32_t count);
  bool violation(const std::string& what);
  void close_socket();
  void peer_closed();
  void on_exit();

  InstanceId instance_;
  runtime::EventLoop& loop_;
  Events& events_;
  Descriptor socket_;
  Descriptor cancels_;  ///< writing end of the pipe behind FLAME_CANCEL_FD
  ServiceProcess service_;

  std::deque<proto::Bytes> outgoing_;
  std::string buffer_;     ///< as large as the message that is being received needs
  size_t filled_ = 0;      ///< bytes of it that were received
  size_t parsed_ = 0;      ///< bytes of those that were taken
  uint64_t skipping_ = 0;  ///< bytes of an answer that is too large still to come
  std::deque<Expected> expected_;
  bool entering_ = false, leaving_ = false;
};

}  // namespace flame::shims

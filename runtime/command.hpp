// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Runs another program to its end and keeps what it prints; bounded in time and size, never blocks
// its loop. No shell.

#include <sys/types.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "proto/error.hpp"
#include "runtime/event_loop.hpp"

namespace flame::runtime {

struct CommandLine {
  std::vector<std::string> words;  ///< the first without '/' is looked up in PATH
  /// Beside our environment; a name that is there already gets this value.
  std::vector<std::pair<std::string, std::string>> environment;
  int64_t patience_us = 30 * proto::kUsPerSecond;
  size_t output_max = size_t{1024} * 1024;
};

class Command {
 public:
  /// What it printed. An error if it could not be started, failed (with the end of its stderr), was
  /// too slow or printed too much; then its process group is killed.
  using Done = std::function<void(proto::Result<std::string>)>;

  /// `done` is called once, from the loop, never from inside; it may destroy this object.
  Command(EventLoop& loop, CommandLine line, Done done);
  ~Command();
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

 private:
  struct Stream {
    int fd = -1;
    std::string text;
  };

  int start();
  void watch(Stream& stream);
  void read(Stream& stream);
  void close_stream(Stream& stream);
  void ended();
  void give_up(const std::string& why);
  void finish(proto::Result<std::string> result);
  void release();

  EventLoop& loop_;
  CommandLine line_;
  Done done_;
  Stream out_, err_;
  pid_t pid_ = 0;
  int pidfd_ = -1;
  EventLoop::TimerId timer_ = 0;
};

}  // namespace flame::runtime

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The ceiling's connection to Redis: one batch on its way. Replies are counted, not built: of all
// of them only three matter (an error, EXEC, the fence).

#include <cstdint>
#include <string>
#include <string_view>

namespace flame::ceiling {

class Redis {
 public:
  explicit Redis(const std::string& socket_path);
  ~Redis();
  Redis(const Redis&) = delete;
  Redis& operator=(const Redis&) = delete;

  int fd() const { return fd_; }
  /// Sends and waits for the replies: for what is done once, at the start.
  void ask(std::string_view bytes, size_t replies);

  /// `bytes` stay where they are until answered() says so. `number` is what the fence must show.
  void send(std::string_view bytes, size_t replies, uint64_t number);
  bool busy() const { return replies_ > 0; }
  bool wants_to_write() const { return !rest_.empty(); }
  /// Writes and reads what goes without waiting; true if the batch was answered just now. Ends the
  /// process where Redis did not apply it.
  bool answered();

 private:
  void write_some();
  bool read_some();
  bool take_reply();

  int fd_;
  std::string_view rest_;
  size_t replies_ = 0;
  std::string expected_;  ///< the last reply
  std::string in_;
  size_t at_ = 0;
};

}  // namespace flame::ceiling

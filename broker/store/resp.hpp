// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Redis commands written straight to memory that the caller knows to be large enough: a batch of
// megabytes is written once, in the place it is sent from.

#include <charconv>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace flame::broker {

class RespOut {
 public:
  explicit RespOut(char* out) : at_(out), begin_(out) {}

  /// `arguments` counts the name of the command too.
  void command(std::string_view name, uint64_t arguments) {
    *at_++ = '*';
    digits(arguments);
    end_line();
    text(name);
    commands_++;
  }
  void text(std::string_view argument) {
    begin_text(argument.size());
    raw(argument);
    end_line();
  }
  void number(uint64_t value) {
    char buffer[20];
    auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
    text({buffer, static_cast<size_t>(end - buffer)});
  }
  /// An argument in pieces: begin_text(size), raw() ... , end_line().
  void begin_text(uint64_t size) {
    *at_++ = '$';
    digits(size);
    end_line();
  }
  void raw(std::string_view bytes) {
    std::memcpy(at_, bytes.data(), bytes.size());
    at_ += bytes.size();
  }
  void fill(char c, size_t count) {
    std::memset(at_, c, count);
    at_ += count;
  }
  void end_line() {
    *at_++ = '\r';
    *at_++ = '\n';
  }

  size_t size() const { return static_cast<size_t>(at_ - begin_); }
  size_t commands() const { return commands_; }

 private:
  void digits(uint64_t value) { at_ = std::to_chars(at_, at_ + 20, value).ptr; }

  char* at_;
  char* begin_;
  size_t commands_ = 0;
};

}  // namespace flame::broker

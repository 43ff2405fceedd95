// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// One connection to Redis in the loop; the only user of hiredis (its parser). Never blocks: the
// socket is ours, a host name is resolved in the background. Any error throws the connection away,
// because after it replies can no longer be told apart; the owner is told once and opens it again
// when it likes.

#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proto/error.hpp"
#include "runtime/event_loop.hpp"

namespace flame::runtime {

struct RedisAddress {
  std::string path;  ///< of a unix socket; empty: host and port
  std::string host = "127.0.0.1";
  uint16_t port = 6379;
  std::string user;
  std::string password;
  uint32_t database = 0;

  /// As a URL without user and password: the only form that may be logged.
  std::string shown() const;
};

/// redis://[user:password@]host[:port][/db] or unix://path[?db=n]. No error text repeats the
/// password.
proto::Result<RedisAddress> parse_redis_url(std::string_view url);

struct RedisReply {
  enum class Kind : uint8_t { kNil, kStatus, kError, kInteger, kText, kArray };
  Kind kind = Kind::kNil;
  int64_t integer = 0;
  std::string text;
  std::vector<RedisReply> items;

  bool is_nil() const { return kind == Kind::kNil; }
  bool is_error() const { return kind == Kind::kError; }
  /// The first word of an error: OOM, LOADING, WRONGTYPE ...
  std::string_view error_word() const;
};
using RedisReplies = std::vector<RedisReply>;

/// Commands that are sent together and answered together.
class RedisRequest {
 public:
  RedisRequest() = default;
  RedisRequest(std::initializer_list<std::string_view> command) { add(command); }
  RedisRequest& add(std::initializer_list<std::string_view> command);
  /// For commands whose arguments are counted at run time.
  RedisRequest& add(const std::vector<std::string_view>& command);
  const std::string& bytes() const { return bytes_; }
  size_t commands() const { return commands_; }

 private:
  friend class RedisConnection;
  template <class Range>
  void append(const Range& command);

  std::string bytes_;
  size_t commands_ = 0;
};

class RedisConnection {
 public:
  using OnReplies = std::function<void(RedisReplies&&)>;
  struct Owner {
    std::function<void()> opened;            ///< connected, password and database accepted
    std::function<void(proto::Error)> lost;  ///< closed already; outstanding requests are forgotten
  };

  RedisConnection(EventLoop& loop, RedisAddress address, Owner owner);
  ~RedisConnection();
  RedisConnection(const RedisConnection&) = delete;
  RedisConnection& operator=(const RedisConnection&) = delete;

  /// `opened` or `lost` follows, never from inside this call.
  void open(int64_t timeout_us);
  /// The owner is not told.
  void close();
  bool is_open() const { return state_ == State::kOpen; }

  /// `done` gets one reply per command, errors included. Only while open.
  void send(RedisRequest&& request, int64_t timeout_us, OnReplies done);
  /// `bytes` stay where they are until `done` or `lost`.
  void send(std::string_view bytes, size_t commands, int64_t timeout_us, OnReplies done);

 private:
  enum class State : uint8_t { kClosed, kResolving, kConnecting, kGreeting, kOpen };
  struct Outgoing {
    std::string owned;
    std::string_view rest;
  };
  struct Waiting {
    size_t commands;
    int64_t deadline_us;
    OnReplies done;
    RedisReplies replies;
  };
  struct Parser;
  struct Lookup;

  void resolve();
  void poll_lookup();
  void connect_to(const void* address, size_t size, int family);
  void on_ready(EventLoop::Ready ready);
  void finish_connect();
  void greet();
  void enqueue(Outgoing outgoing, size_t commands, int64_t timeout_us, OnReplies done);
  void write_some();
  void read_some();
  void take_replies();
  void watch_deadline();
  void on_deadline();
  void fail(proto::Error error);
  void fail_later(proto::Error error);
  proto::Error down(std::string_view verb, std::string_view reason) const;

  EventLoop& loop_;
  RedisAddress address_;
  Owner owner_;
  State state_ = State::kClosed;
  int fd_ = -1;
  int64_t open_deadline_us_ = 0;
  EventLoop::TimerId timer_ = 0;  ///< connect time-out, lookup, or a request's deadline
  int64_t timer_us_ = 0;
  uint64_t generation_ = 0;  ///< rises with close(): a callback may have closed the connection
  std::unique_ptr<Parser> parser_;
  std::shared_ptr<Lookup> lookup_;
  std::deque<Outgoing> out_;
  std::deque<Waiting> waiting_;
};

}  // namespace flame::runtime

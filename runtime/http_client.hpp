// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// HTTP requests from the process's loop; the only user of libcurl. It speaks HTTP/1.1, keeps
// connections alive, follows no redirect (a 3xx is an answer like any other), uses no proxy that it
// is not told of, and verifies certificates unless told otherwise.
//
// A request may arrive twice: a kept connection that the server had closed is tried again. SIGPIPE
// must be ignored, as runtime/signals does.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/error.hpp"
#include "runtime/event_loop.hpp"

namespace flame::runtime {

/// Of a PEM text and a file that holds one, the text wins.
struct HttpTls {
  std::string ca, ca_file;      ///< who may sign the server's certificate; none: the system's list
  std::string cert, cert_file;  ///< our own, if the server wants one
  std::string key, key_file;
  std::string server_name;  ///< expected in the certificate instead of the URL's host
  bool verify = true;
};

struct HttpRequest {
  using OnChunk = std::function<void(std::string_view)>;

  std::string method = "GET";
  std::string url;  ///< http or https
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  HttpTls tls;
  std::string unix_socket;  ///< connects there; the URL's host is only the name in the request
  std::string proxy;
  int64_t connect_us = 10 * proto::kUsPerSecond;
  int64_t total_us = 30 * proto::kUsPerSecond;  ///< 0: it may last for ever
  int64_t stall_us = 0;  ///< most time without a byte of the answer, from the start on; 0: any
  size_t answer_max = size_t{64} * 1024 * 1024;  ///< bytes of body; a streamed one has no bound
  /// Gets a body of status 2xx as it comes; the answer's is then empty. It may cancel the request.
  OnChunk on_chunk = {};
};

struct HttpAnswer {
  int status = 0;
  std::map<std::string, std::string, std::less<>> headers;  ///< names in lower case
  std::string body;

  /// "" where there is none.
  std::string_view header(std::string_view name) const {
    auto found = headers.find(name);
    return found == headers.end() ? std::string_view() : found->second;
  }
};

class HttpClient {
 public:
  using Id = uint64_t;
  /// An error says what happened to which URL, without its query: kNoBroker where nobody was
  /// reached, kRefused where TLS failed, kTimeout, kTooLarge, kBadFrame for an answer that was cut
  /// off or is not HTTP, kBadRequest for a request that cannot be sent.
  using Done = std::function<void(proto::Result<HttpAnswer>)>;

  explicit HttpClient(EventLoop& loop);
  /// Not from a handler of its own. What runs is dropped; its handlers are not called.
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// `done` is called once, from the loop, never from inside this call; it may send and cancel.
  Id send(HttpRequest request, Done done);
  /// Its handlers are not called any more. One that is over already may be named.
  void cancel(Id id);
  size_t running() const { return transfers_.size(); }

 private:
  struct Transfer;
  struct Hooks;  ///< what libcurl calls

  proto::Status prepare(Transfer& transfer);
  void advance(int fd, int events);
  void watch(int fd, int what);
  void deliver_chunks();
  void finish(Id id, int code);
  void fail(Id id, const proto::Error& error);
  std::unique_ptr<Transfer> take(Id id);
  void check_stall(Id id);
  void set_timer();

  EventLoop& loop_;
  void* multi_;
  Id next_ = 1;
  std::map<Id, std::unique_ptr<Transfer>> transfers_;
  std::vector<Id> with_chunks_;
  /// Cancelled while a handler of theirs may be running.
  std::vector<std::unique_ptr<Transfer>> cancelled_;
  std::set<int> watched_;
  bool delivering_ = false;
  bool timer_set_ = false;
  EventLoop::TimerId timer_ = 0;
};

}  // namespace flame::runtime

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Calls of the API server: credentials, errors, pages, and when it may be asked again. What failed
// for a reason that passes (no connection, 429, 5xx) holds every further call back, longer each
// time; they are answered at once meanwhile.

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "autoscaler/kubernetes/credentials.hpp"
#include "proto/value.hpp"
#include "runtime/backoff.hpp"
#include "runtime/event_loop.hpp"
#include "runtime/http_client.hpp"

namespace flame::autoscaler::kubernetes {

/// The same call may succeed later, without anybody changing anything.
bool passes(const proto::Error& error);
/// For a query.
std::string escaped(std::string_view text);

class Api {
 public:
  struct Call {
    std::string method;
    std::string path;  ///< with its query
    std::string content_type;
    proto::Value body;
  };
  using Done = std::function<void(proto::Result<proto::Value>)>;
  /// kNotFound 404, kConflict 409, kGone 410, kBadRequest 400 and 422, kRefused 403, kBusy 401, 429
  /// and 5xx. The text names method, path and what the server says.
  struct Listing {
    std::function<void()> begin;  ///< also when it has to start over
    std::function<void(const proto::Value&)> item;
    std::function<void(proto::Result<std::string>)> done;  ///< the resourceVersion
  };
  struct Stream {
    std::function<bool(std::string_view)> chunk;  ///< false: enough, end it
    std::function<void(proto::Status)> done;      ///< fine when the server ended it in good order
  };

  /// `wait_most_us`: calls are never held back for longer, but where the server says so.
  Api(runtime::EventLoop& loop, Access access, int64_t wait_most_us = 30 * proto::kUsPerSecond)
      : loop_(loop),
        credentials_(loop, std::move(access)),
        http_(loop),
        backoff_(500 * proto::kUsPerMs, wait_most_us) {}

  const Access& access() const { return credentials_.access(); }

  /// Answered once, from the loop, never from inside.
  void call(Call call, Done done);
  /// All objects under `path` that have the labels, page by page.
  void list(std::string path, const std::string& selector, Listing listing);
  void watch(const std::string& path, int64_t seconds_max, Stream stream);
  /// Calls before that are answered with what holds them back.
  int64_t not_before_us() const { return not_before_us_; }

 private:
  struct Sent;

  void send(const std::shared_ptr<Sent>& sent);
  void answered(const std::shared_ptr<Sent>& sent, proto::Result<runtime::HttpAnswer> answer);
  void settle(const std::shared_ptr<Sent>& sent, proto::Result<runtime::HttpAnswer> answer);
  proto::Error error_from(const Sent& sent, const runtime::HttpAnswer& answer);
  void hold_back(proto::Error& error, int64_t least_us);
  void page(std::shared_ptr<Listing> listing, std::string base, const std::string& token);

  runtime::EventLoop& loop_;
  Credentials credentials_;
  runtime::HttpClient http_;
  runtime::Backoff backoff_;
  int64_t not_before_us_ = 0;
  std::string trouble_;  ///< that holds back
};

}  // namespace flame::autoscaler::kubernetes

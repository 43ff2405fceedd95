// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// One call of flmctl: its options, the thing it is about, the broker it talks to, and how it
// prints. Each verb is a row of the table in verbs.cpp and a file verb_<name>.cpp.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/cpp/src/client_impl.hpp"
#include "client/exit_codes.hpp"
#include "client/flmctl/output.hpp"
#include "runtime/options.hpp"

namespace flame::flmctl {

enum class Kind : uint8_t { kSession, kApplication, kExecutor, kNode, kTask };
std::string_view name_of(Kind kind);

/// What a verb is about. -s/-a/-e/-t, or KIND ID, or just ID.
struct Target {
  Kind kind = Kind::kSession;
  std::string id;    ///< "" if none was given
  std::string task;  ///< with kTask: of session `id`
  std::vector<std::string> rest;
};

class Command {
 public:
  Command(std::string verb, runtime::Options options)
      : verb_(std::move(verb)), options_(std::move(options)) {}

  const runtime::Options& options() const { return options_; }
  /// KIND may stand first; `otherwise` is the kind where nothing says one.
  proto::Result<Target> target(Kind otherwise) const;
  /// The same, and an id must be given; only `view` takes another kind than `otherwise`.
  proto::Result<Target> target_with_id(Kind otherwise) const;
  proto::Result<Format> format() const { return parse_format(options_.text("output")); }
  /// --timeout, else 30 s.
  uint64_t timeout_ms() const;

  proto::Result<client::Connection*> connect();
  /// The public client over the same connection. It throws flame::Error, which run_flmctl()
  /// catches.
  Client client();

  struct Rows {
    proto::List rows;
    bool cut = false;  ///< there are more
  };
  /// Of a question whose answer is a Listing.
  proto::Result<Rows> ask_rows(proto::Message message);
  /// Connects, asks, and turns anything but a Reply into an error.
  template <class Reply>
  proto::Result<Reply> ask(proto::Message message) {
    auto connection = connect();
    if (!connection) return connection.error();
    return (*connection)->ask<Reply>(std::move(message), timeout_ms());
  }

  /// What the broker says, and what a person at this verb can do about it.
  static proto::Error with_next_step(proto::Error error, std::string_view next);
  /// Prints the error and returns the exit code.
  int fail(const proto::Error& error) const;
  int fail_usage(const proto::Error& error) const;

 private:
  std::string verb_;
  runtime::Options options_;
  std::shared_ptr<detail::ClientImpl> client_;
};

}  // namespace flame::flmctl

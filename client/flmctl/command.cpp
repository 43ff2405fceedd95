// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/flmctl/command.hpp"

#include <array>

#include "client/tool.hpp"
#include "proto/rows.hpp"
#include "proto/text.hpp"

namespace flame::flmctl {

using proto::Code;
using proto::Error;

namespace {

struct KindRow {
  Kind kind;
  std::string_view name;
  std::array<std::string_view, 4> words;
};
constexpr std::array kKinds = {
    KindRow{Kind::kSession, "session", {"session", "sessions", "ssn", "s"}},
    KindRow{Kind::kApplication, "application", {"application", "applications", "app", "apps"}},
    KindRow{Kind::kExecutor, "executor", {"executor", "executors", "exec", "e"}},
    KindRow{Kind::kNode, "node", {"node", "nodes", "n", "n"}},
    KindRow{Kind::kTask, "task", {"task", "tasks", "t", "t"}}};

std::optional<Kind> kind_of(std::string_view word) {
  for (const auto& row : kKinds) {
    for (auto known : row.words) {
      if (word == known) return row.kind;
    }
  }
  return std::nullopt;
}

// A session, or one task of it as SESSION/N.
bool takes_task(const std::string& verb) {
  return verb == "view" || verb == "watch" || verb == "logs";
}

// `S/7` names task 7 of session S.
void split_task(Target& target) {
  auto slash = target.id.rfind('/');
  if (target.task.empty() && slash != std::string::npos) {
    target.task = target.id.substr(slash + 1);
    target.id.resize(slash);
  }
}

}  // namespace

std::string_view name_of(Kind kind) {
  for (const auto& row : kKinds) {
    if (row.kind == kind) return row.name;
  }
  return "session";
}

proto::Result<Target> Command::target(Kind otherwise) const {
  Target target{otherwise, "", "", options_.positional()};
  bool kind_given = false;
  auto take_kind = [&](Kind kind) { target.kind = kind, kind_given = true; };
  for (Kind kind : {Kind::kSession, Kind::kApplication, Kind::kExecutor, Kind::kTask}) {
    std::string text = options_.text(name_of(kind));
    if (!options_.given(name_of(kind)) || text.empty()) continue;
    if (kind_given && kind != Kind::kTask) {
      return Error{Code::kBadRequest, "give one of --session, --application and --executor"};
    }
    take_kind(kind);
    if (text == "true") continue;  // list has them as switches
    (kind == Kind::kTask ? target.task : target.id) = text;
  }
  bool has_words = verb_ == "submit" || verb_ == "cancel" || verb_ == "update";  // behind the id
  bool names_kind = !has_words || verb_ == "update";
  if (!target.rest.empty() && names_kind) {
    auto kind = kind_of(target.rest.front());
    // `list task -s S` and `view task -s S -t 7` name the kind twice, and the word is the narrower.
    bool narrower = kind == Kind::kTask && target.kind == Kind::kSession &&
                    (!target.id.empty() || target.rest.size() > 1);
    if (kind && (!kind_given || narrower || (kind == target.kind && !target.id.empty()))) {
      take_kind(*kind);
      target.rest.erase(target.rest.begin());
    }
  }
  if (target.id.empty() && !target.rest.empty()) {
    target.id = target.rest.front();
    target.rest.erase(target.rest.begin());
  }
  if (target.kind == Kind::kTask || (takes_task(verb_) && target.kind == Kind::kSession)) {
    split_task(target);
    if (!target.task.empty()) target.kind = Kind::kTask;
  }
  if (target.kind == Kind::kTask) {
    if (target.task.empty() && !target.rest.empty()) {
      target.task = target.rest.front();
      target.rest.erase(target.rest.begin());
    }
  }
  if (!target.rest.empty() && !has_words) {
    return Error{Code::kBadRequest,
                 "unexpected '" + proto::printable(target.rest.front(), 60) + "'"};
  }
  return target;
}

proto::Result<Target> Command::target_with_id(Kind otherwise) const {
  auto found = target(otherwise);
  if (!found) return found;
  std::string kind(name_of(found->kind == Kind::kTask ? Kind::kSession : found->kind));
  if (found->id.empty()) {
    // What is written down names an application in full: by a prefix it could mean another one
    // later.
    bool in_full = found->kind == Kind::kApplication && verb_ != "view";
    return Error{Code::kBadRequest, "which " + kind + "? Give its " +
                                        (in_full ? "name" : "id, a unique prefix of it") +
                                        (kind == "session" ? ", or `last`" : "") +
                                        "; flmctl list " + kind + " shows all"};
  }
  bool any_kind = verb_ == "view" || (found->kind == Kind::kTask && takes_task(verb_));
  if (found->kind != otherwise && !any_kind) {
    return Error{Code::kBadRequest, verb_ + " takes one " + std::string(name_of(otherwise)) +
                                        ", not one " + std::string(name_of(found->kind))};
  }
  return found;
}

uint64_t Command::timeout_ms() const {
  constexpr uint64_t kDefaultMs = 30'000;
  auto given = options_.duration_ms("timeout");
  return given ? *given : kDefaultMs;
}

proto::Result<client::Connection*> Command::connect() {
  if (client_ == nullptr) {
    auto connected =
        tools::connect_to_broker("flmctl", options_.text("endpoint"), options_.text("cluster"));
    if (!connected) return connected.error();
    client_ = std::make_shared<detail::ClientImpl>(std::move(*connected),
                                                   std::chrono::milliseconds(timeout_ms()));
  }
  return client_->connection.get();
}

Client Command::client() {
  detail::value_or_raise(connect());
  return detail::ClientImpl::wrap(client_);
}

Error Command::with_next_step(Error error, std::string_view next) {
  error.message.append("; ").append(next);
  return error;
}

int Command::fail(const Error& error) const { return tools::fail("flmctl", error); }
int Command::fail_usage(const Error& error) const {
  return tools::fail_usage("flmctl " + verb_, error);
}

proto::Result<Command::Rows> Command::ask_rows(proto::Message message) {
  auto listing = ask<proto::Listing>(std::move(message));
  if (!listing) return listing.error();
  auto rows = proto::decode_rows(listing->payload.view());
  if (!rows) return rows.error();
  return Rows{std::move(*rows), listing->cut};
}

}  // namespace flame::flmctl

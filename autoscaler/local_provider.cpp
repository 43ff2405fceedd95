// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/local_provider.hpp"

#include <nlohmann/json.hpp>

#include "proto/text.hpp"

namespace flame::autoscaler {

using Json = nlohmann::json;
using proto::Code;
using proto::Error;

namespace {

constexpr int64_t kPatienceUs = 5 * proto::kUsPerSecond;

// nlohmann throws; nothing above this function sees it.
proto::Result<Json> reply_of(const std::string& answer, const std::string& socket) {
  if (answer.empty()) {
    return Error{Code::kNoBroker, "the supervisor of flmctl up does not answer at " + socket};
  }
  Json reply = Json::parse(answer, nullptr, false);
  if (!reply.is_object() || reply.value("result", "") == "") {
    return Error{Code::kBadFrame, "the supervisor of flmctl up answers '" +
                                      proto::printable(answer, 80) + "', which says nothing"};
  }
  if (reply["result"] != "ok") {
    return Error{Code::kRefused, "the supervisor of flmctl up refuses: " +
                                     proto::printable(reply.value("message", ""), 200)};
  }
  return reply;
}

Provided provided_of(const Json& process) {
  std::string state = process.value("state", "");
  return {.id = process.value("name", ""),
          .application = process.value("application", ""),
          .leaving = state == "stopping" || state == "stopped",
          .exits = process.value("restarts", uint64_t{0}) + (state == "backoff" ? 1 : 0),
          .trouble = process.value("last_exit", "")};
}

}  // namespace

void LocalProvider::ask(const std::string& request, std::function<void(const std::string&)> done) {
  probe_ = std::make_unique<runtime::Probe>(
      loop_, control_socket_, request + "\n", kPatienceUs,
      [done = std::move(done)](const std::string& answer) { done(answer); },
      runtime::Probe::Then::kHangUp);
}

void LocalProvider::list(Listed done) {
  ask(R"({"verb": "status"})", [this, done = std::move(done)](const std::string& answer) {
    auto reply = reply_of(answer, control_socket_);
    if (!reply) return done(reply.error());
    std::vector<Provided> all;
    try {
      for (const auto& process : reply->at("status").at("processes")) {
        if (process.value("application", "") != "") all.push_back(provided_of(process));
      }
    } catch (const Json::exception& error) {
      return done(Error{Code::kBadFrame, std::string("the supervisor of flmctl up lists its "
                                                     "processes in another way: ") +
                                             error.what()});
    }
    done(std::move(all));
  });
}

void LocalProvider::order(const std::string& request, Done done) {
  ask(request, [this, done = std::move(done)](const std::string& answer) {
    auto reply = reply_of(answer, control_socket_);
    done(reply ? proto::Status() : proto::Status(reply.error()));
  });
}

void LocalProvider::add(const std::string& application, uint64_t count, Done done) {
  order(Json{{"verb", "scale"}, {"application", application}, {"add", count}}.dump(),
        std::move(done));
}

void LocalProvider::leave(const std::vector<std::string>& ids, Done done) {
  order(Json{{"verb", "scale"}, {"leave", ids}}.dump(), std::move(done));
}

}  // namespace flame::autoscaler

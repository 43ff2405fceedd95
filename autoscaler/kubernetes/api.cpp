// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/kubernetes/api.hpp"

#include <algorithm>
#include <cctype>

#include "autoscaler/kubernetes/text.hpp"
#include "proto/text.hpp"
#include "runtime/clock.hpp"

namespace flame::autoscaler::kubernetes {

using proto::Code;
using proto::Error;
using proto::Result;
using proto::Value;

namespace {

constexpr int64_t kCallPatienceUs = 10 * proto::kUsPerSecond;
/// A stream's end is the server's to choose; this is for one that is gone.
constexpr int64_t kStreamGraceUs = 15 * proto::kUsPerSecond;
/// Objects of some kilobytes each, which are read into memory as trees.
constexpr int kPageSize = 100;
/// What a server may ask for: it is asked again after that, whatever it says.
constexpr int64_t kRetryAfterMostS = 300;

Code code_of(int status) {
  switch (status) {
    case 404:
      return Code::kNotFound;
    case 409:
      return Code::kConflict;
    case 410:
      return Code::kGone;
    case 401:
    case 408:
    case 429:
      return Code::kBusy;
    case 403:
      return Code::kRefused;
    default:
      return status >= 500 ? Code::kBusy : Code::kBadRequest;
  }
}

// What is applied and has no such form (a misspelt field, a number for a text) is a 500 without a
// reason to Kubernetes, while nothing is wrong with the server.
bool is_our_mistake(int status, std::string_view message) {
  return status == 500 && (message.starts_with("failed to create typed patch object (") ||
                           message.starts_with("failed to convert new object ("));
}

std::string_view hint_for(int status) {
  switch (status) {
    case 401:
      return "; the credentials are not accepted: have they expired?";
    case 403:
      return "; docs/kubernetes.md has the Role that the autoscaler needs";
    default:
      return "";
  }
}

std::string without_query(const std::string& path) { return path.substr(0, path.find('?')); }

// Half of it is chance, so that those who failed together do not come back together.
int64_t jittered(int64_t us) {
  return us / 2 + static_cast<int64_t>(runtime::random_u64() % static_cast<uint64_t>(us / 2 + 1));
}

}  // namespace

bool passes(const Error& error) {
  return error.code == Code::kBusy || error.code == Code::kNoBroker ||
         error.code == Code::kTimeout || error.code == Code::kBadFrame ||
         error.code == Code::kConflict || error.code == Code::kGone;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (unsigned char c : text) {
    if (std::isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~') {
      out += static_cast<char>(c);
    } else {
      constexpr std::string_view kHex = "0123456789ABCDEF";
      out += {'%', kHex[c >> 4], kHex[c & 15]};
    }
  }
  return out;
}

// shared_ptr: it waits for credentials and answers in closures of which only one is ever called.
struct Api::Sent {
  Call call;
  Done done;
  Stream stream;
  int64_t total_us = kCallPatienceUs;
  bool again = false;  ///< for the second time, after a 401
  runtime::HttpClient::Id id = 0;

  void fail(const Error& error) const {
    if (stream.done) return stream.done(error);
    done(error);
  }
};

void Api::call(Call call, Done done) {
  send(std::make_shared<Sent>(Sent{.call = std::move(call), .done = std::move(done)}));
}

void Api::watch(const std::string& path, int64_t seconds_max, Stream stream) {
  send(std::make_shared<Sent>(
      Sent{.call = {.method = "GET",
                    .path = path + "&watch=true&timeoutSeconds=" + std::to_string(seconds_max)},
           .stream = std::move(stream),
           .total_us = seconds_max * proto::kUsPerSecond + kStreamGraceUs}));
}

void Api::send(const std::shared_ptr<Sent>& sent) {
  int64_t wait_us = not_before_us_ - loop_.now().mono_us;
  if (wait_us > 0) {
    Error error{Code::kBusy,
                trouble_ + "; asked again in " + std::to_string(wait_us / proto::kUsPerMs) + " ms"};
    loop_.call_at(loop_.now().mono_us, [sent, error] { sent->fail(error); });
    return;
  }
  credentials_.prepare([this, sent](Result<runtime::HttpRequest> ready) {
    if (!ready) {
      loop_.call_at(loop_.now().mono_us, [this, sent, error = ready.error()]() mutable {
        error.code = Code::kBusy;
        hold_back(error, 0);
        sent->fail(error);
      });
      return;
    }
    runtime::HttpRequest request = std::move(*ready);
    request.method = sent->call.method;
    request.url += sent->call.path;
    request.headers.emplace_back("Accept", "application/json");
    request.headers.emplace_back("User-Agent", "flame-autoscaler/" FLAME_VERSION);
    if (!sent->call.body.is_null()) {
      request.headers.emplace_back("Content-Type", sent->call.content_type);
      request.body = write_json(sent->call.body);
    }
    request.total_us = sent->total_us;
    if (sent->stream.chunk) {
      request.on_chunk = [this, sent](std::string_view chunk) {
        if (sent->stream.chunk(chunk)) return;
        http_.cancel(sent->id);
        sent->stream.done({});
      };
    }
    sent->id = http_.send(std::move(request),
                          [this, sent](auto answer) { answered(sent, std::move(answer)); });
  });
}

void Api::answered(const std::shared_ptr<Sent>& sent, Result<runtime::HttpAnswer> answer) {
  if (answer && answer->status == 401) {
    credentials_.refused();
    // The token may have rotated since it was read.
    if (!std::exchange(sent->again, true)) return send(sent);
  }
  settle(sent, std::move(answer));
}

void Api::settle(const std::shared_ptr<Sent>& sent, Result<runtime::HttpAnswer> answer) {
  if (!answer) {
    Error error = answer.error();
    // A stream that was cut may be taken up at once; who listens to it knows.
    if (!sent->stream.done || error.code == Code::kNoBroker) hold_back(error, 0);
    return sent->fail(error);
  }
  if (answer->status / 100 != 2) return sent->fail(error_from(*sent, *answer));
  // One that was under way says nothing about those that are held back.
  if (loop_.now().mono_us >= not_before_us_) backoff_.reset();
  if (sent->stream.done) return sent->stream.done({});
  auto value = read_json(answer->body);
  if (value) return sent->done(std::move(*value));
  Error error{Code::kBadFrame, sent->call.method + " " + without_query(sent->call.path) + ": " +
                                   value.error().message};
  hold_back(error, 0);
  sent->done(error);
}

Error Api::error_from(const Sent& sent, const runtime::HttpAnswer& answer) {
  auto status = read_json(answer.body);
  std::string message = status ? std::string(status->text_at("message")) : answer.body;
  std::string reason = status ? std::string(status->text_at("reason")) : "";
  Error error{is_our_mistake(answer.status, message) ? Code::kBadRequest : code_of(answer.status),
              sent.call.method + " " + without_query(sent.call.path) + ": " +
                  std::to_string(answer.status) + (reason.empty() ? "" : " " + reason) + ": " +
                  proto::printable(message, 500) + std::string(hint_for(answer.status))};
  auto said = proto::parse_number<int64_t>(answer.header("retry-after"));
  if (error.code == Code::kBusy || said)
    hold_back(error,
              std::clamp<int64_t>(said.value_or(0), 0, kRetryAfterMostS) * proto::kUsPerSecond);
  return error;
}

void Api::hold_back(Error& error, int64_t least_us) {
  int64_t wait_us = std::max(least_us, jittered(backoff_.next_us()));
  not_before_us_ = std::max(not_before_us_, loop_.now().mono_us + wait_us);
  error.retry_after_ms = static_cast<uint32_t>(wait_us / proto::kUsPerMs);
  trouble_ = error.message;
}

void Api::list(std::string path, const std::string& selector, Listing listing) {
  auto shared = std::make_shared<Listing>(std::move(listing));
  path += "?limit=" + std::to_string(kPageSize) + "&labelSelector=" + escaped(selector);
  shared->begin();
  page(std::move(shared), std::move(path), "");
}

void Api::page(std::shared_ptr<Listing> listing, std::string base, const std::string& token) {
  std::string path = base + (token.empty() ? "" : "&continue=" + escaped(token));
  call({.method = "GET", .path = path},
       [this, listing = std::move(listing), base = std::move(base), token](Result<Value> page_of) {
         if (!page_of) {
           // The token has expired, as they do after some minutes.
           if (page_of.error().code != Code::kGone || token.empty())
             return listing->done(page_of.error());
           listing->begin();
           return page(listing, base, "");
         }
         const Value* items = page_of->find("items");
         std::string version = text_in(*page_of, {"metadata", "resourceVersion"});
         // `items` is null where there are none.
         bool fine = items != nullptr && (items->is_null() || items->list() != nullptr);
         if (!fine || version.empty()) {
           return listing->done(Error{Code::kBadFrame, "GET " + without_query(base) +
                                                           ": the answer is no list of objects"});
         }
         if (items->list() != nullptr) {
           for (const auto& item : *items->list()) listing->item(item);
         }
         std::string more = text_in(*page_of, {"metadata", "continue"});
         if (more.empty()) return listing->done(version);
         page(listing, base, more);
       });
}

}  // namespace flame::autoscaler::kubernetes

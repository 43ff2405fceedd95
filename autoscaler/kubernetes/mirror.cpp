// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/kubernetes/mirror.hpp"

#include <algorithm>

#include "autoscaler/kubernetes/text.hpp"
#include "proto/text.hpp"
#include "runtime/log.hpp"

namespace flame::autoscaler::kubernetes {

using proto::Code;
using proto::Error;

namespace {

/// So long a copy can be old without our noticing, if a connection is dead and silent.
constexpr int64_t kWatchSeconds = 60;
/// Of one object.
constexpr size_t kLineMax = size_t{4} * 1024 * 1024;
/// One that ends sooner and says nothing is not asked again at once.
constexpr int64_t kShortUs = proto::kUsPerSecond;

}  // namespace

void Mirror::list() {
  api_.list(path_, selector_,
            {.begin = [this] { names_.clear(); },
             .item =
                 [this](const proto::Value& object) {
                   names_.insert(text_in(object, {"metadata", "name"}));
                   sink_.put(object);
                 },
             .done =
                 [this](proto::Result<std::string> version) {
                   if (!version) return again(version.error());
                   version_ = std::move(*version);
                   sink_.only(names_);
                   names_.clear();
                   trouble_.clear();
                   watch();
                 }});
}

void Mirror::watch() {
  lines_ = Lines(kLineMax);
  begun_us_ = loop_.now().mono_us;
  heard_ = spoiled_ = expired_ = false;
  api_.watch(path_ + "?allowWatchBookmarks=true&resourceVersion=" + escaped(version_) +
                 "&labelSelector=" + escaped(selector_),
             kWatchSeconds,
             {.chunk = [this](std::string_view chunk) { return on_chunk(chunk); },
              .done = [this](const proto::Status& status) { on_end(status); }});
}

// False once the stream is worth nothing any more.
bool Mirror::on_chunk(std::string_view chunk) {
  auto lines = lines_.feed(chunk);
  if (!lines) {
    spoiled_ = true;
    trouble_ = lines.error().message;
    return false;
  }
  for (const auto& line : *lines) {
    auto event = event_from(line);
    if (event) {
      on_event(*event);
    } else {
      spoiled_ = true;
      trouble_ = event.error().message;
    }
    if (spoiled_) return false;
  }
  return true;
}

void Mirror::on_event(const WatchEvent& event) {
  using Kind = WatchEvent::Kind;
  switch (event.kind) {
    case Kind::kPut:
      sink_.put(event.object);
      break;
    case Kind::kGone:
      sink_.gone(text_in(event.object, {"metadata", "name"}));
      break;
    case Kind::kBookmark:
      break;
    case Kind::kExpired:
      expired_ = true;
      [[fallthrough]];
    case Kind::kError:
      spoiled_ = true;
      trouble_ = "the watch ended: " + proto::printable(event.object.text_at("message"), 200);
      return;
  }
  version_ = event.version;
  heard_ = true;
  backoff_.reset();
}

void Mirror::on_end(const proto::Status& status) {
  bool lasted = loop_.now().mono_us - begun_us_ >= kShortUs;
  bool worked = heard_ || (status && lasted);
  // One that failed before it worked, or ended at once, must not become a loop.
  int64_t at_us = loop_.now().mono_us + (worked ? 0 : backoff_.next_us());
  if (expired_ || (!status && status.error().code == Code::kGone)) {
    runtime::log::debug("the past of a watch is forgotten: it is listed again", {{"path", path_}});
    loop_.call_at(at_us, [this] { list(); });
    return;
  }
  if (spoiled_) return again({Code::kBadFrame, trouble_});
  bool cut =
      !status && (status.error().code == Code::kBadFrame || status.error().code == Code::kTimeout);
  if (!status && !(worked && cut)) return again(status.error());
  loop_.call_at(at_us, [this] { watch(); });
}

void Mirror::again(const Error& error) {
  trouble_ = error.message;
  if (runtime::log::once_a_second("mirror " + path_))
    runtime::log::warn("the API server cannot be followed, nothing is scaled meanwhile",
                       {{"error", error.message}});
  int64_t at_us = std::max(api_.not_before_us(), loop_.now().mono_us + backoff_.next_us());
  loop_.call_at(at_us, [this] { list(); });
}

}  // namespace flame::autoscaler::kubernetes

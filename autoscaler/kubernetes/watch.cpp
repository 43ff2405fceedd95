// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "autoscaler/kubernetes/watch.hpp"

#include "autoscaler/kubernetes/text.hpp"
#include "proto/text.hpp"

namespace flame::autoscaler::kubernetes {

using proto::Code;
using proto::Error;

proto::Result<std::vector<std::string>> Lines::feed(std::string_view piece) {
  std::vector<std::string> lines;
  while (!piece.empty()) {
    size_t end = piece.find('\n');
    rest_.append(piece.substr(0, end));
    if (rest_.size() > line_max_) {
      return Error{Code::kTooLarge, "a line of the stream is longer than the " +
                                        std::to_string(line_max_) + " bytes it may have"};
    }
    if (end == piece.npos) break;
    if (!rest_.empty()) lines.push_back(std::exchange(rest_, {}));
    piece.remove_prefix(end + 1);
  }
  return lines;
}

proto::Result<WatchEvent> event_from(std::string_view line) {
  using Kind = WatchEvent::Kind;
  auto value = read_json(line);
  if (!value) return value.error();
  std::string type{value->text_at("type")};
  const proto::Value* object = value->find("object");
  if (object == nullptr || object->map() == nullptr)
    return Error{Code::kBadFrame, "an event of the stream has no object"};
  WatchEvent event{.object = *object, .version = text_in(*object, {"metadata", "resourceVersion"})};
  if (type == "ERROR") {
    event.kind = object->number_at("code") == 410 ? Kind::kExpired : Kind::kError;
    event.version.clear();
    return event;
  }
  if (event.version.empty()) return Error{Code::kBadFrame, "an event has no resourceVersion"};
  if (type == "BOOKMARK") return event;
  if (text_in(*object, {"metadata", "name"}).empty())
    return Error{Code::kBadFrame, "an event's object has no name"};
  if (type == "DELETED") {
    event.kind = Kind::kGone;
  } else if (type == "ADDED" || type == "MODIFIED") {
    event.kind = Kind::kPut;
  } else {
    return Error{Code::kBadFrame,
                 "an event of the unknown type '" + proto::printable(type, 40) + "'"};
  }
  return event;
}

}  // namespace flame::autoscaler::kubernetes

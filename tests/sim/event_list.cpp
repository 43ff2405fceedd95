// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "tests/sim/event_list.hpp"

#include <algorithm>

#include "proto/limits.hpp"
#include "proto/text.hpp"

namespace flame::sim {

namespace {

std::string shown(const EventList::Event& event) {
  return "event " + event.code + " (" + event.text + ") of " + std::to_string(event.at_ms) + " ms";
}

// Each of these is said once, or counts up: it follows from the list alone whether one is too many.
std::string check_order(const std::vector<EventList::Event>& events, bool whole) {
  uint64_t version = 0, closings = 0;
  for (size_t i = 0; i < events.size(); i++) {
    const auto& event = events[i];
    if (i > 0 && event.at_ms < events[i - 1].at_ms)
      return shown(event) + " stands behind a later one";
    if ((event.code == "created") != (whole && i == 0))
      return shown(event) + " is number " + std::to_string(i);
    if (event.code == "closing" && closings++ > 0) return shown(event) + " is a second one";
    if (event.code != "updated") continue;
    auto space = event.text.find_last_of(' ');
    auto said = proto::parse_number<uint64_t>(event.text.substr(space + 1)).value_or(0);
    bool follows = version == 0 ? !whole || said == 2 : said == version + 1;
    if (!follows) return shown(event) + " follows version " + std::to_string(version);
    version = said;
  }
  return "";
}

}  // namespace

std::vector<EventList::Event> EventList::from(const proto::List& rows) {
  std::vector<Event> events;
  for (const auto& row : rows) {
    events.push_back({row.number_at("at_ms"), std::string(row.text_at("code")),
                      std::string(row.text_at("text"))});
  }
  return events;
}

std::string EventList::see(const std::vector<Event>& piece, const Facts& known, int64_t now_ms) {
  if (piece.size() > proto::kEventsKept) return "has more events than are kept";
  if (piece.empty()) return "has no events";
  if (piece.back().at_ms > now_ms) return shown(piece.back()) + " is yet to come";
  bool trimmed = piece.size() == proto::kEventsKept;
  if (auto wrong = check_order(piece, !trimmed || piece.front().code == "created"); !wrong.empty())
    return wrong;
  if (auto wrong = join(piece); !wrong.empty()) return wrong;
  if (trimmed) return "";  // what is known may be trimmed as well
  for (const auto& [fact, times] : known) {
    const auto& [code, text] = fact;
    auto found = std::count_if(piece.begin(), piece.end(), [&](const Event& event) {
      return event.code == code && event.text.starts_with(text);
    });
    if (static_cast<uint64_t>(found) < times)
      return "lacks the event " + code + " (" + text + "), of which a client was told";
  }
  return "";
}

// Answers may come in another order than they were read in: either may be the longer one.
std::string EventList::join(const std::vector<Event>& piece) {
  auto at = std::find(events_.begin(), events_.end(), piece.front());
  bool apart = at == events_.end() && piece.size() == proto::kEventsKept;
  if (events_.empty() || apart) {  // so many came meanwhile, or before anybody looked
    whole_ = events_.empty() && piece.front().code == "created";
    events_ = piece;
    return "";
  }
  if (at == events_.end()) return shown(piece.front()) + " was not there before";
  for (const auto& event : piece) {
    if (at == events_.end()) at = events_.insert(at, event);
    if (!(*at == event)) return shown(event) + " was " + shown(*at) + " before";
    ++at;
  }
  return "";
}

}  // namespace flame::sim

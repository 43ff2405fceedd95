// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Questions about what there is. Keys are flat and only ever added: they are an interface.

#include <algorithm>

#include "broker/core/clients.hpp"
#include "broker/core/durability.hpp"
#include "broker/core/executors.hpp"
#include "broker/core/lifecycle.hpp"
#include "proto/rows.hpp"
#include "proto/text.hpp"

namespace flame::broker {

using proto::Code;
using proto::Error;
using proto::Map;
using proto::Value;

namespace {

// The names and texts of flame:{S}:session, numbers as numbers, and the id.
Value session_row(const Session& session) {
  Map row = {{"id", session.name}};
  for (const auto& [name, text] : fields_of(session, true)) {
    auto number = proto::parse_number<int64_t>(text);
    bool is_text =
        name == "reason" || name == "application" || name == "owner" || name == "resources";
    row.emplace_back(name, number && !is_text ? Value(*number) : Value(text));
  }
  row.emplace_back("slots", session.slots_bound);
  row.emplace_back("done_end", session.done_end);
  return row;
}

// Sessions without tasks that keep slots all the same, and nobody else can have those.
std::string held_by_minimums(const State& state, const Session& waiting) {
  uint64_t held = 0;
  std::string names;
  for (const auto& [uid, session] : state.sessions) {
    bool idle = session->counters.unfinished() == 0 && session->slots_bound > 0;
    if (session.get() == &waiting || !idle || session->spec.min_instances == 0) continue;
    held += std::min(session->slots_bound, session->spec.min_instances);
    if (names.size() < 200) names += (names.empty() ? "" : ", ") + session->name;
  }
  if (held == 0) return "";
  return "waits for a slot: " + std::to_string(held) + " of " + std::to_string(state.slots) +
         " are kept by the min_instances of sessions without tasks (" + names + ")";
}

// Why a session with waiting tasks has nothing running: the question operators ask first.
std::string why(const State& state, const Session& session) {
  if (session.state == proto::SessionState::kSuspended) return "suspended: " + session.reason;
  if (auto late = late_reason(state, session.spec.durability); !late.empty()) return late;
  if (session.counters.unfinished() == 0) return "no task is pending or running";
  if (!session.reason.empty()) return session.reason;
  if (session.counters.running > 0)
    return "running on " + std::to_string(session.slots_bound) + " slots";
  if (state.slots == 0) {
    bool any = std::any_of(state.executors.begin(), state.executors.end(),
                           [](const auto& entry) { return entry.second.serves(); });
    return any ? "every executor is cordoned, drained, resting or leaving; flmctl uncordon EXECUTOR"
               : "no executor is connected; start one, or flmctl up --executors 1";
  }
  if (session.slots_bound == 0) {
    auto held = held_by_minimums(state, session);
    return held.empty() ? "waits for a slot: others are served before it" : held;
  }
  return "its slots are being bound";
}

// Executors by the machine they run on: what stands before the last colon of their address.
proto::List node_rows(const State& state) {
  struct Node {
    uint64_t executors = 0, slots = 0, bound = 0, busy = 0;
    int64_t seen_ms = 0;
  };
  std::map<std::string, Node> nodes;
  for (const auto& [id, executor] : state.executors) {
    if (!executor.serves()) continue;
    Node& node = nodes[executor.address.substr(0, executor.address.rfind(':'))];
    node.executors++;
    node.slots += executor.slots.size();
    for (const auto& slot : executor.slots) node.bound += slot.wanted != 0;
    node.busy += executor.busy_slots;
    node.seen_ms = std::max(node.seen_ms, executor.seen_ms);
  }
  proto::List rows;
  for (const auto& [name, node] : nodes) {
    rows.push_back(Map{{"id", name},
                       {"state", "Ready"},
                       {"executors", node.executors},
                       {"slots", node.slots},
                       {"bound", node.bound},
                       {"busy", node.busy},
                       {"seen", node.seen_ms}});
  }
  return rows;
}

std::optional<proto::List> rows_of(const State& state, const std::string& kind, bool all) {
  proto::List rows;
  if (kind == "session") {
    for (const auto& [uid, session] : state.sessions) rows.push_back(session_row(*session));
    std::stable_sort(rows.begin(), rows.end(), [](const Value& a, const Value& b) {
      return a.number_at("created") < b.number_at("created");
    });
  } else if (kind == "application") {
    for (const auto& [name, application] : state.applications) {
      rows.push_back(proto::to_value(application));
    }
  } else if (kind == "executor") {
    for (const auto& [id, executor] : state.executors) {
      if (all || executor.serves()) rows.push_back(row_of(state, executor));
    }
  } else if (kind == "node") {
    rows = node_rows(state);
  } else {
    return std::nullopt;
  }
  return rows;
}

// The autoscaler's own words lie in Redis; the broker only passes them on.
void read_scale(State& state, const Client& client, uint64_t request, std::string application) {
  uint64_t tag = state.next_tag++;
  state.reads[tag] = {0, client.peer, request, std::move(application)};
  state.actions.push_back(StoreRead{ReadScale{tag, !state.reads[tag].application.empty()}});
}

Error unknown_kind(const std::string& kind) {
  return {Code::kBadRequest, "unknown kind '" + proto::printable(kind, 40) +
                                 "'; there are session, application, executor, node and scale"};
}

// Exact name, else the only one that begins with it.
template <class Things>
proto::Result<std::string> find_name(const Things& things, const char* kind,
                                     const std::string& name) {
  if (things.contains(name)) return name;
  std::vector<std::string> matches;
  for (auto at = things.lower_bound(name); at != things.end() && at->first.starts_with(name);
       ++at) {
    matches.push_back(at->first);
    if (matches.size() > 3) break;
  }
  if (matches.size() == 1 && !name.empty()) return matches.front();
  std::string shown = std::string(kind) + " '" + proto::printable(name, 60) + "'";
  if (matches.empty() || name.empty()) {
    return Error{Code::kNotFound, "no " + shown + "; flmctl list " + kind + " shows all"};
  }
  return Error{Code::kNotFound,
               shown + " is not unique: " + matches[0] + ", " + matches[1] + " ..."};
}

void answer(State& state, Client& client, uint64_t request, const Value& row) {
  send_now(state, client, proto::Listing{request, false, proto::encode_rows({row})});
}

}  // namespace

proto::Result<Session*> find_session(State& state, const std::string& name) {
  if (name == "last" && !state.names.contains(name)) {
    Session* last = nullptr;
    for (const auto& [uid, session] : state.sessions) {
      if (last == nullptr || session->created_ms >= last->created_ms) last = session.get();
    }
    if (last != nullptr) return last;
    return Error{Code::kNotFound, "there is no session yet; flmping -t 1000 makes one"};
  }
  auto found = find_name(state.names, "session", name);
  if (!found && state.waits_for_recover) {
    Error waits = lost_lineage(state);
    waits.message = found.error().message + ". Perhaps it is lost: " + waits.message;
    return waits;
  }
  if (!found) return found.error();
  return state.session_named(*found);
}

proto::Result<std::string> find_executor(const State& state, const std::string& name) {
  return find_name(state.executors, "executor", name);
}

void on_list(State& state, Client& client, const proto::ListKind& message) {
  if (message.kind == "scale") return read_scale(state, client, message.request, "");
  auto rows = rows_of(state, message.kind, message.all);
  if (!rows) return refuse(state, client, message.request, unknown_kind(message.kind));
  bool cut = rows->size() > proto::kListRowsMax;
  if (cut)
    rows->erase(rows->begin(), rows->end() - static_cast<std::ptrdiff_t>(proto::kListRowsMax));
  send_now(state, client, proto::Listing{message.request, cut, proto::encode_rows(*rows)});
}

void on_view(State& state, Client& client, const proto::View& message) {
  if (message.kind == "session") {
    auto session = find_session(state, message.id);
    if (!session) return refuse(state, client, message.request, session.error());
    uint64_t tag = state.next_tag++;
    state.reads[tag] = {(*session)->uid, client.peer, message.request};
    state.actions.push_back(StoreRead{ReadEvents{tag, (*session)->name}});
    return;
  }
  if (message.kind == "application") {
    auto name = find_name(state.applications, "application", message.id);
    if (!name) return refuse(state, client, message.request, name.error());
    return answer(state, client, message.request, proto::to_value(state.applications[*name]));
  }
  if (message.kind == "executor") {
    auto id = find_executor(state, message.id);
    if (!id) return refuse(state, client, message.request, id.error());
    return answer(state, client, message.request, row_of(state, state.executors.at(*id)));
  }
  if (message.kind == "scale") {
    auto name = find_name(state.applications, "application", message.id);
    if (!name) return refuse(state, client, message.request, name.error());
    return read_scale(state, client, message.request, *name);
  }
  refuse(state, client, message.request, unknown_kind(message.kind));
}

void on_scale_read(State& state, ScaleRead read) {
  auto asked = state.reads.extract(read.tag);
  if (asked.empty()) return;
  const auto& [uid, peer, request, application] = asked.mapped();
  auto client = state.clients.find(peer);
  if (client == state.clients.end()) return;
  if (read.error.code != Code::kOk) return refuse(state, client->second, request, read.error);
  proto::List rows = std::move(read.rows);
  std::sort(rows.begin(), rows.end(), [](const Value& a, const Value& b) {
    return a.text_at("application") < b.text_at("application");
  });
  if (!application.empty()) {
    rows.clear();
    for (auto& decision : read.decisions) {
      bool fits = decision.text_at("application") == application;
      if (fits && rows.size() < proto::kDecisionsShown) rows.push_back(std::move(decision));
    }
    std::reverse(rows.begin(), rows.end());  // oldest first, as events are
  }
  send_now(state, client->second, proto::Listing{request, false, proto::encode_rows(rows)});
}

void on_events_read(State& state, EventsRead read) {
  auto asked = state.reads.extract(read.tag);
  if (asked.empty()) return;
  auto client = state.clients.find(asked.mapped().peer);
  Session* session = state.session(asked.mapped().uid);
  if (client == state.clients.end()) return;
  if (session == nullptr) {
    return refuse(state, client->second, asked.mapped().request,
                  {Code::kGone, "the session was deleted meanwhile"});
  }
  Value row = session_row(*session);
  auto& map = std::get<Map>(row.data);
  map.emplace_back("why", why(state, *session));
  map.emplace_back("events", std::move(read.events));
  answer(state, client->second, asked.mapped().request, row);
}

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/lifecycle.hpp"

#include <algorithm>
#include <cstdlib>

#include "broker/core/applications.hpp"
#include "broker/core/cancel.hpp"
#include "broker/core/contexts.hpp"
#include "broker/core/delivery.hpp"
#include "broker/core/dispatch.hpp"
#include "broker/core/durability.hpp"
#include "broker/core/hands.hpp"
#include "broker/core/retention.hpp"
#include "broker/core/task_watches.hpp"
#include "proto/elements.hpp"
#include "proto/text.hpp"
#include "runtime/assert.hpp"

namespace flame::broker {

using proto::Code;
using proto::Error;
using proto::SessionEvent;
using proto::SessionState;

namespace {

/// A hundred years, far from where sums of times end.
constexpr uint64_t kTtlMsMax = 100ull * 365 * 24 * 3600 * 1000;

/// Less is nothing to any of the times below.
constexpr int64_t kClockSetMs = 10'000;

std::string made_name(State& state, const std::string& application) {
  static constexpr char kLetters[] =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  for (;;) {
    std::string name = application.substr(0, proto::kNameBytesMax - 7) + "-";
    for (int i = 0; i < 6; i++) name += kLetters[next_random(state) % 62];
    if (!state.names.contains(name)) return name;
  }
}

proto::Status check_spec(const State& state, const proto::SessionSpec& spec) {
  auto application = state.applications.find(spec.application);
  if (application == state.applications.end()) return no_application(state, spec.application);
  auto too_many = [](const char* name, uint64_t value, uint64_t most) {
    return Error{Code::kBadRequest, std::string(name) + " is " + std::to_string(value) +
                                        "; at most " + std::to_string(most)};
  };
  if (spec.min_instances > proto::kInstancesMax)
    return too_many("min_instances", spec.min_instances, proto::kInstancesMax);
  if (spec.max_instances > proto::kInstancesMax)
    return too_many("max_instances", spec.max_instances, proto::kInstancesMax);
  if (spec.priority > UINT32_MAX) return too_many("priority", spec.priority, UINT32_MAX);
  if (spec.batch_size == 0) return Error{Code::kBadRequest, "batch_size is 0; at least 1"};
  if (spec.batch_size > UINT32_MAX) return too_many("batch_size", spec.batch_size, UINT32_MAX);
  if (spec.results_ttl_ms > kTtlMsMax)
    return too_many("results_ttl_ms", spec.results_ttl_ms, kTtlMsMax);
  if (spec.resources.size() > proto::kResourcesBytesMax)
    return too_many("the size of resources", spec.resources.size(), proto::kResourcesBytesMax);
  if (spec.max_instances != 0 && spec.min_instances > spec.max_instances) {
    return Error{Code::kBadRequest, "min_instances is above max_instances"};
  }
  if (spec.retention != "ttl" && spec.retention != "read") {
    return Error{Code::kBadRequest, "retention must be ttl or read, not '" +
                                        proto::printable(spec.retention, 40) + "'"};
  }
  return check_level(state, spec.durability);
}

std::string difference(const proto::SessionSpec& a, const proto::SessionSpec& b) {
  if (a.application != b.application) return "application " + a.application;
  if (a.min_instances != b.min_instances) return "min_instances " + std::to_string(a.min_instances);
  if (a.max_instances != b.max_instances) return "max_instances " + std::to_string(a.max_instances);
  if (a.priority != b.priority) return "priority " + std::to_string(a.priority);
  if (a.batch_size != b.batch_size) return "batch_size " + std::to_string(a.batch_size);
  if (a.durability != b.durability)
    return "durability " + std::string(proto::name_of(a.durability));
  if (a.retention != b.retention) return "retention " + a.retention;
  if (a.results_ttl_ms != b.results_ttl_ms)
    return "results_ttl_ms " + std::to_string(a.results_ttl_ms);
  return "resources '" + a.resources + "'";
}

proto::Result<Session*> open_existing(Session& session, const proto::CreateSession& message) {
  if (!message.open_or_create) {
    return Error{Code::kAlreadyExists, "session '" + session.name +
                                           "' exists already; open it, or "
                                           "leave the id out to get a fresh one"};
  }
  if (session.spec != message.spec) {
    return Error{Code::kAlreadyExists, "session '" + session.name + "' exists with " +
                                           difference(session.spec, message.spec)};
  }
  if (session.finished() || session.state == SessionState::kClosing) {
    return Error{Code::kWrongState,
                 "session '" + session.name + "' is " + std::string(proto::name_of(session.state))};
  }
  return &session;
}

}  // namespace

proto::Result<Session*> create_session(State& state, Client& client,
                                       const proto::CreateSession& message, const proto::Now& now) {
  if (!message.session.empty()) {
    auto name = proto::check_name("session", message.session);
    if (!name) return name.error();
    if (message.session == "last") {
      return Error{Code::kBadName, "a session cannot be named 'last': that means the newest one"};
    }
    if (Session* existing = state.session_named(message.session)) {
      return open_existing(*existing, message);
    }
  }
  if (auto status = check_spec(state, message.spec); !status) return status.error();
  if (state.unreadable.contains(message.session)) {
    return Error{Code::kWrongState,
                 "session '" + message.session +
                     "' stands in Redis with fields that make no sense, and was left alone: "
                     "another name, or repair or remove its keys (docs/operating.md) and restart "
                     "the broker"};
  }
  if (message.payload.size() > proto::kCommonBytesMax) {
    return common_too_large(message.payload.size());
  }
  auto session = std::make_unique<Session>();
  session->name =
      message.session.empty() ? made_name(state, message.spec.application) : message.session;
  session->uid = state.epoch_number << 32 | ++state.sessions_created;
  session->spec = message.spec;
  session->owner = client.user;
  session->created_ms = now.wall_ms();
  session->common = message.payload;
  session->has_common = !message.payload.empty();
  session->idle_since_us = now.mono_us;
  Session* raw = session.get();
  state.names[raw->name] = raw->uid;
  state.sessions[raw->uid] = std::move(session);
  state.to_plan.emplace(raw->uid, raw);
  state.ops.push_back(
      PutSession{raw->name, raw->created_ms, fields_of(*raw, true), message.payload});
  add_event(state, *raw, now, "created", "by " + raw->owner);
  state.plan_due = true;
  return raw;
}

void close_session(State& state, Session& session, const proto::Now& now) {
  auto next = proto::next_state(session.state, SessionEvent::kClose);
  if (!next) return;
  seal_fresh(state, session, now);
  session.state = *next;
  const uint64_t pending = session.counters.pending;
  for (const auto& waiting : session.tasks.take_all()) {
    session.counters.pending -= waiting.run.count;
    record_cancelled(state, session, waiting.run, "session closed", now);
  }
  session.closed_ms = now.wall_ms();
  add_event(state, session, now, "closing",
            std::to_string(pending) + " pending tasks cancelled");
  make_room(state);
  on_tasks_finished(state, session);
  state.plan_due = true;
}

void delete_session(State& state, Session& session) {
  for (const auto& [peer, watcher] : session.watchers) {
    send_acknowledgement(state, session.spec.durability, peer,
                         proto::SessionChanged{session.uid, SessionState::kDeleting,
                                               session.counters, session.done_end, "deleted"});
  }
  for (const auto& waiting : session.waiting) {
    send_acknowledgement(
        state, session.spec.durability, waiting.peer,
        proto::ErrorReply{waiting.request, Code::kGone, "the session was deleted", 0, 0, 0});
  }
  end_task_watches(state, session);
  take_running(state, session, {{1, session.counters.tasks}}, nullptr);
  drop_segments(state, session, true);
  state.ops.push_back(DropResults{session.name});
  state.ops.push_back(DropSession{session.name});
  make_room(state);
  state.input_memory -= session.memory_counted;
  forget_recent(state, session);
  state.touched.erase(session.uid);
  state.to_plan.erase(session.uid);
  std::erase_if(state.acks, [&](const auto& entry) { return entry.first.second == session.uid; });
  state.names.erase(session.name);
  state.plan_due = true;
  state.sessions.erase(session.uid);  // last: `session` ends here
}

void suspend_session(State& state, Session& session, const std::string& reason,
                     const proto::Now& now) {
  auto next = proto::next_state(session.state, SessionEvent::kSuspend);
  if (!next) return;
  session.state = *next;
  session.reason = reason;
  add_event(state, session, now, "suspended", reason);
  // At once: what they wait for may never be stored.
  for (const auto& [peer, watcher] : session.watchers) {
    auto client = state.clients.find(peer);
    if (client == state.clients.end()) continue;
    send_now(state, client->second,
             proto::SessionChanged{session.uid, session.state, session.counters, session.done_end,
                                   reason});
  }
  state.plan_due = true;
}

void on_tasks_finished(State& state, Session& session) {
  if (session.counters.unfinished() > 0) return;
  bool fresh = std::any_of(session.fresh.begin(), session.fresh.end(),
                           [](const FreshRun& run) { return run.run.count > 0; });
  if (fresh) return;
  state.plan_due = true;
  if (session.state == SessionState::kClosing) {
    session.state = *proto::next_state(session.state, SessionEvent::kLastTaskDone);
    touch(state, session);
    for (const auto& [peer, watcher] : session.watchers) {
      send_acknowledgement(state, session.spec.durability, peer,
                           proto::SessionChanged{session.uid, session.state, session.counters,
                                                 session.done_end, ""});
    }
  }
  std::erase_if(session.waiting, [&](const WaitingRequest& waiting) {
    if (waiting.closed && !session.finished()) return false;
    auto client = state.clients.find(waiting.peer);
    if (client != state.clients.end()) {
      send_acknowledgement(state, session.spec.durability, waiting.peer,
                           info_of(state, session, waiting.request, client->second.id));
    }
    return true;
  });
}

void follow_clock(State& state, const proto::Now& now) {
  int64_t offset_us = now.wall_us - now.mono_us;
  int64_t before_us = std::exchange(state.clock_offset_us, offset_us).value_or(offset_us);
  int64_t set_ms = (offset_us - before_us) / proto::kUsPerMs;
  if (std::abs(set_ms) < kClockSetMs) return;
  note(state, true, "the clock was set by " + std::to_string(set_ms / 1000) + " s");
  for (auto& [uid, session] : state.sessions) {
    if (session->closed_ms != 0) {
      session->closed_ms += set_ms;
      touch(state, *session);
    }
    for (auto& [name, reader] : session->readers) reader.second += set_ms;
    for (auto& [client, submits] : session->submits) {
      auto used_ms = static_cast<int64_t>(submits.history.used_ms) + set_ms;
      submits.history.used_ms = static_cast<uint64_t>(std::max<int64_t>(0, used_ms));
    }
  }
  for (auto& [id, executor] : state.executors) {
    executor.seen_ms += set_ms;
    executor.worked_ms += set_ms;
    if (executor.idle_ms != 0) executor.idle_ms += set_ms;
  }
}

proto::SessionInfo info_of(const State&, const Session& session, uint64_t request,
                           const std::string& client_id) {
  proto::SessionInfo info;
  info.request = request;
  info.session = session.name;
  info.uid = session.uid;
  info.spec = session.spec;
  info.state = session.state;
  info.counters = session.counters;
  auto submits = session.submits.find(client_id);
  info.last_submit = submits == session.submits.end() ? 0 : submits->second.last();
  info.done_first = session.done_first;
  info.done_end = session.done_end;
  info.created_ms = static_cast<uint64_t>(session.created_ms);
  info.closed_ms = static_cast<uint64_t>(session.closed_ms);
  return info;
}

TextFields fields_of(const Session& session, bool all) {
  auto text = [](uint64_t number) { return std::to_string(number); };
  const proto::Counters& c = session.counters;
  TextFields fields = {{"tasks", text(c.tasks)},
                       {"pending", text(c.pending)},
                       {"running", text(c.running)},
                       {"succeed", text(c.succeed)},
                       {"failed", text(c.failed)},
                       {"cancelled", text(c.cancelled)},
                       {"done_first", text(session.done_first)}};
  auto add = [&](const char* name, std::string value) {
    fields.emplace_back(name, std::move(value));
  };
  if (all || session.state != SessionState::kOpen) {
    add("state", std::string(proto::name_of(session.state)));
    add("closed", std::to_string(session.closed_ms));
    add("reason", session.reason);
    add("results_dropped", session.results_dropped ? "1" : "0");
  }
  if (all || session.trimmed_dirty) {
    add("first_segment", text(session.first_segment));
    add("trimmed", text_of_trimmed(session));
  }
  if (!all) return fields;
  add("uid", text(session.uid));
  add("application", session.spec.application);
  add("owner", session.owner);
  add("priority", text(session.spec.priority));
  add("batch_size", text(session.spec.batch_size));
  add("min_instances", text(session.spec.min_instances));
  add("max_instances", text(session.spec.max_instances));
  add("durability", std::string(proto::name_of(session.spec.durability)));
  add("retention", session.spec.retention);
  add("results_ttl_ms", text(session.spec.results_ttl_ms));
  add("resources", session.spec.resources);
  add("common", text(session.has_common ? 1 : 0));
  add("common_version", text(session.common_version));
  add("created", std::to_string(session.created_ms));
  return fields;
}

}  // namespace flame::broker

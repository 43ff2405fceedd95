// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/store/redis_recovery.hpp"

#include <algorithm>

#include "broker/store/redis_facts.hpp"
#include "proto/keys.hpp"
#include "proto/text.hpp"

namespace flame::broker {

namespace {

using runtime::RedisReplies;
using runtime::RedisReply;
using runtime::RedisRequest;

constexpr int64_t kRecoveryTimeoutUs = 60 * proto::kUsPerSecond;
constexpr size_t kSessionsAtOnce = 64;
constexpr int64_t kFieldsAtOnce =
    65'536;  // HKEYS of more would hold Redis for tens of milliseconds

// HSCAN sends the values too; this sends [cursor, name, name ...].
constexpr std::string_view kScanNames =
    "local r=redis.call('HSCAN',KEYS[1],ARGV[1],'COUNT',ARGV[2]) local o={r[1]} "
    "for i=1,#r[2],2 do o[#o+1]=r[2][i] end return o";

std::vector<std::pair<std::string, std::string>> pairs(RedisReply& reply) {
  std::vector<std::pair<std::string, std::string>> out;
  out.reserve(reply.items.size() / 2);
  for (size_t i = 0; i + 1 < reply.items.size(); i += 2) {
    out.emplace_back(std::move(reply.items[i].text), std::move(reply.items[i + 1].text));
  }
  std::sort(out.begin(), out.end());
  return out;
}

uint64_t number_of(const RecoveredSession& session, std::string_view name) {
  for (const auto& [field, value] : session.fields) {
    if (field == name) return proto::parse_number<uint64_t>(value).value_or(0);
  }
  return 0;
}

}  // namespace

RedisRecovery::RedisRecovery(runtime::RedisConnection& connection, Done done)
    : connection_(connection), done_(std::move(done)) {}

void RedisRecovery::start() {
  RedisRequest request;
  request.add({"HGETALL", proto::kAppsKey});
  request.add({"HGETALL", proto::kExecutorsKey});
  request.add({"ZRANGE", proto::kSessionsKey, "0", "-1"});
  connection_.send(std::move(request), kRecoveryTimeoutUs,
                   [this](RedisReplies&& replies) { take_names(std::move(replies)); });
}

void RedisRecovery::send(size_t index, RedisRequest&& request,
                         void (RedisRecovery::*take)(size_t, RedisReplies&&)) {
  sessions_[index].outstanding++;
  connection_.send(std::move(request), kRecoveryTimeoutUs,
                   [this, index, take](RedisReplies&& replies) {
                     (this->*take)(index, std::move(replies));
                     if (--sessions_[index].outstanding == 0) finish_session(index);
                   });
}

void RedisRecovery::take_names(RedisReplies&& replies) {
  for (const auto& reply : replies) {
    if (reply.is_error()) return done_(explain(reply.text, "its place").error);
  }
  found_.recovered.applications = pairs(replies[0]);
  found_.recovered.executors = pairs(replies[1]);
  sessions_.resize(replies[2].items.size());
  for (size_t i = 0; i < sessions_.size(); i++)
    sessions_[i].session.session = std::move(replies[2].items[i].text);
  if (sessions_.empty()) return done_(std::move(found_));
  next_sessions();
}

void RedisRecovery::next_sessions() {
  while (next_ < sessions_.size() && next_ - finished_ < kSessionsAtOnce) {
    size_t index = next_++;
    const auto& name = sessions_[index].session.session;
    RedisRequest request;
    request.add({"HGETALL", proto::session_key(name)});
    request.add({"HGETALL", proto::submits_key(name)});
    request.add({"HGETALL", proto::readers_key(name)});
    request.add({"HGETALL", proto::attempts_key(name)});
    request.add({"LLEN", proto::done_key(name)});
    send(index, std::move(request), &RedisRecovery::take_session);
  }
}

// The first wrong key decides; what could be read stays.
bool RedisRecovery::good(size_t index, const RedisReply& reply) {
  if (!reply.is_error()) return true;
  if (sessions_[index].refused.empty()) sessions_[index].refused = proto::printable(reply.text);
  return false;
}

void RedisRecovery::take_session(size_t index, RedisReplies&& replies) {
  auto& session = sessions_[index].session;
  if (good(index, replies[0])) session.fields = pairs(replies[0]);
  if (good(index, replies[1])) session.submits = pairs(replies[1]);
  if (good(index, replies[2])) session.readers = pairs(replies[2]);
  if (good(index, replies[3])) {
    for (const auto& [task, charged] : pairs(replies[3])) {
      session.attempts.emplace_back(proto::parse_number<uint64_t>(task).value_or(0),
                                    proto::parse_number<proto::Attempt>(charged).value_or(0));
    }
    std::sort(session.attempts.begin(), session.attempts.end());
  }
  if (good(index, replies[4])) session.done_length = static_cast<uint64_t>(replies[4].integer);
  uint64_t tasks = number_of(session, "tasks");
  RedisRequest request;
  for (uint64_t k = number_of(session, "first_segment"); k * proto::kSegmentTasks < tasks; k++) {
    sessions_[index].segments.push_back(k);
    request.add({"GET", proto::state_key(session.session, k)});
    request.add({"HLEN", proto::input_key(session.session, k)});
  }
  if (request.commands() > 0) send(index, std::move(request), &RedisRecovery::take_sizes);
}

void RedisRecovery::take_sizes(size_t index, RedisReplies&& replies) {
  auto& reading = sessions_[index];
  RedisRequest request;
  for (size_t i = 0; i < reading.segments.size(); i++) {
    uint64_t segment = reading.segments[i];
    auto& letters = replies[2 * i];
    const auto& fields = replies[2 * i + 1];
    if (good(index, letters) && !letters.is_nil())
      reading.session.states.emplace_back(segment, std::move(letters.text));
    if (!good(index, fields) || fields.integer == 0) continue;
    if (fields.integer > kFieldsAtOnce) {
      scan_inputs(index, segment, "0");
    } else {
      request.add({"HKEYS", proto::input_key(reading.session.session, segment)});
    }
  }
  if (request.commands() > 0) send(index, std::move(request), &RedisRecovery::take_inputs);
}

void RedisRecovery::take_inputs(size_t index, RedisReplies&& replies) {
  for (const auto& reply : replies) {
    if (!good(index, reply)) continue;
    for (const auto& name : reply.items) add_run(index, name.text);
  }
}

void RedisRecovery::scan_inputs(size_t index, uint64_t segment, const std::string& cursor) {
  RedisRequest request;
  request.add({"EVAL", kScanNames, "1", proto::input_key(sessions_[index].session.session, segment),
               cursor, "16384"});
  sessions_[index].outstanding++;
  connection_.send(std::move(request), kRecoveryTimeoutUs,
                   [this, index, segment](RedisReplies&& replies) {
                     const auto& items = replies[0].items;
                     if (good(index, replies[0]) && !items.empty()) {
                       for (size_t i = 1; i < items.size(); i++) add_run(index, items[i].text);
                       if (items[0].text != "0") scan_inputs(index, segment, items[0].text);
                     }
                     if (--sessions_[index].outstanding == 0) finish_session(index);
                   });
}

void RedisRecovery::add_run(size_t index, std::string_view name) {
  auto run = proto::parse_run(name);
  if (run) {
    sessions_[index].session.inputs.push_back(*run);
  } else if (sessions_[index].refused.empty()) {
    sessions_[index].refused = "a field of its input is not a run: " + proto::printable(name, 40);
  }
}

void RedisRecovery::finish_session(size_t index) {
  auto& reading = sessions_[index];
  auto& inputs = reading.session.inputs;
  std::sort(inputs.begin(), inputs.end());
  inputs.erase(std::unique(inputs.begin(), inputs.end()), inputs.end());  // HSCAN may repeat
  if (!reading.refused.empty())
    found_.refused.push_back({reading.session.session, reading.refused});
  finished_++;
  if (finished_ < sessions_.size()) return next_sessions();
  for (auto& session : sessions_) found_.recovered.sessions.push_back(std::move(session.session));
  done_(std::move(found_));
}

}  // namespace flame::broker

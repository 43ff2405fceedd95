// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/store/memory_redis.hpp"

#include <algorithm>
#include <type_traits>

#include "proto/crc32c.hpp"
#include "proto/elements.hpp"
#include "proto/keys.hpp"
#include "proto/text.hpp"

namespace flame::broker {

namespace {

using proto::segment_of;

template <class T>
T& at(MemoryKeys& keys, const std::string& key) {
  auto [found, fresh] = keys.try_emplace(key, T{});
  return *std::get_if<T>(&found->second);
}

void drop_fields(MemoryKeys& keys, const std::string& key, const std::vector<std::string>& fields) {
  auto found = keys.find(key);
  if (found == keys.end()) return;
  auto& hash = *std::get_if<MemoryHash>(&found->second);
  for (const auto& field : fields) hash.erase(field);
  if (hash.empty()) keys.erase(found);
}

void put_field(MemoryKeys& keys, const std::string& key, const std::string& field,
               const std::string& value) {
  if (value.empty()) return drop_fields(keys, key, {field});
  at<MemoryHash>(keys, key)[field] = value;
}

std::vector<std::string> names_of(const std::vector<proto::Run>& runs) {
  std::vector<std::string> names;
  for (const auto& run : runs) names.push_back(to_string(run));
  return names;
}

void drop_results(MemoryKeys& keys, const SessionName& session) {
  for (const auto& key :
       {proto::common_key(session), proto::done_key(session), proto::attempts_key(session),
        proto::idempotency_key(session), proto::readers_key(session), proto::submits_key(session),
        proto::events_key(session)}) {
    keys.erase(key);
  }
}

struct ApplyOp {
  MemoryKeys& keys;

  void operator()(const PutApplication& op) const {
    put_field(keys, std::string(proto::kAppsKey), op.name, op.value);
  }
  void operator()(const DropApplication& op) const {
    drop_fields(keys, std::string(proto::kAppsKey), {op.name});
    drop_fields(keys, std::string(proto::kDemandKey), {op.name});
  }
  void operator()(const PutSession& op) const {
    at<MemoryZset>(keys, std::string(proto::kSessionsKey))[op.session] = op.created_ms;
    (*this)(PutFields{op.session, op.fields});
    if (!op.common.empty()) (*this)(PutCommon{op.session, op.common});
  }
  void operator()(const PutCommon& op) const {
    if (op.value.empty()) {
      keys.erase(proto::common_key(op.session));
    } else {
      keys[proto::common_key(op.session)] = std::string(op.value.view());
    }
  }
  void operator()(const PutFields& op) const {
    if (op.fields.empty()) return;
    auto& hash = at<MemoryHash>(keys, proto::session_key(op.session));
    for (const auto& [name, value] : op.fields) hash[name] = value;
  }
  void operator()(const PutInput& op) const {
    std::string value = proto::array_header(op.run.count);
    for (const auto& piece : op.pieces) value += piece.view();
    at<MemoryHash>(
        keys, proto::input_key(op.session, segment_of(op.run.first)))[to_string(op.run)] = value;
  }
  void operator()(const DropInput& op) const {
    if (op.runs.empty()) return;
    drop_fields(keys, proto::input_key(op.session, segment_of(op.runs[0].first)),
                names_of(op.runs));
  }
  void operator()(const PutState& op) const {
    auto& letters = at<std::string>(keys, proto::state_key(op.session, segment_of(op.run.first)));
    auto from = proto::offset_in_segment(op.run.first);
    if (letters.size() < from + op.run.count) letters.resize(from + op.run.count, '\0');
    std::fill_n(letters.begin() + static_cast<long>(from), op.run.count,
                static_cast<char>(op.state));
  }
  void operator()(const PutOutput& op) const {
    std::string value = op.head;
    value += op.elements.view();
    value += proto::encode_output_tail(proto::crc32c(value));
    at<MemoryHash>(
        keys, proto::output_key(op.session, segment_of(op.run.first)))[to_string(op.run)] = value;
    at<MemoryList>(keys, proto::done_key(op.session)).push_back(to_string(op.run));
  }
  void operator()(const DropOutput& op) const {
    if (op.runs.empty()) return;
    drop_fields(keys, proto::output_key(op.session, segment_of(op.runs[0].first)),
                names_of(op.runs));
  }
  void operator()(const TrimDone& op) const {
    auto found = keys.find(proto::done_key(op.session));
    if (found == keys.end()) return;
    auto& list = *std::get_if<MemoryList>(&found->second);
    list.erase(list.begin(),
               list.begin() + static_cast<long>(std::min<uint64_t>(op.count, list.size())));
    if (list.empty()) keys.erase(found);
  }
  void operator()(const PutAttempts& op) const {
    auto key = proto::attempts_key(op.session);
    for (const auto& [task, charged] : op.charged) {
      put_field(keys, key, std::to_string(task), charged == 0 ? "" : std::to_string(charged));
    }
  }
  void operator()(const PutSubmits& op) const {
    put_field(keys, proto::submits_key(op.session), op.client, op.value);
  }
  void operator()(const PutReader& op) const {
    put_field(keys, proto::readers_key(op.session), op.reader, op.value);
  }
  void operator()(const PutEvent& op) const {
    auto& stream = at<MemoryStream>(keys, proto::events_key(op.session));
    stream.push_back({op.at_ms, op.code, op.text});
    if (stream.size() > proto::kEventsKept) stream.pop_front();
  }
  void operator()(const DropSegments& op) const {
    for (uint64_t k = op.first; k <= op.last; k++) {
      if (op.state) keys.erase(proto::state_key(op.session, k));
      keys.erase(proto::input_key(op.session, k));
      keys.erase(proto::options_key(op.session, k));
      keys.erase(proto::output_key(op.session, k));
    }
  }
  void operator()(const DropResults& op) const { drop_results(keys, op.session); }
  void operator()(const DropSession& op) const {
    drop_results(keys, op.session);
    keys.erase(proto::session_key(op.session));
    auto found = keys.find(proto::kSessionsKey);
    if (found == keys.end()) return;
    auto& sessions = *std::get_if<MemoryZset>(&found->second);
    sessions.erase(op.session);
    if (sessions.empty()) keys.erase(found);
  }
  void operator()(const PutExecutor& op) const {
    put_field(keys, std::string(proto::kExecutorsKey), op.executor, op.value);
  }
  void operator()(const PutDemand& op) const {
    put_field(keys, std::string(proto::kDemandKey), op.application, op.value);
  }
};

}  // namespace

void apply(MemoryKeys& keys, const StoreOp& op) { std::visit(ApplyOp{keys}, op); }

MemoryRedis::MemoryRedis(uint64_t seed) : random_state_(seed) {
  run_id_ = std::to_string(random());
}

uint64_t MemoryRedis::random() {  // splitmix64
  uint64_t z = random_state_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

void MemoryRedis::set_down(bool down) {
  if (down && !down_) {
    connections_++;
    for (auto& request : on_the_way_) answers_[request.ticket].outcome = Outcome::kLost;
    on_the_way_.clear();
  }
  down_ = down;
}

void MemoryRedis::restart(size_t changes_lost) {
  set_down(true);
  run_id_ = std::to_string(random());
  for (size_t i = 0; i < changes_lost && !unsynced_.empty(); i++) unsynced_.pop_back();
  sync();  // what was loaded was read from the disk
  live_ = disk_;
  unreplicated_.clear();
  replica_behind_ = true;
  set_down(false);
}

void MemoryRedis::add_replica() {
  has_replica_ = true;
  replica_ = live_;
}

bool MemoryRedis::replicate() {
  if (!has_replica_ || replica_stopped_) return false;
  // Its primary forgot something: it starts again from all that the primary has.
  if (std::exchange(replica_behind_, false)) replica_ = live_;
  for (const auto& change : unreplicated_) apply(replica_, change);
  unreplicated_.clear();
  return true;
}

void MemoryRedis::sync() {
  for (const auto& change : unsynced_) apply(disk_, change);
  unsynced_.clear();
}

void MemoryRedis::wipe() {
  unsynced_.clear();
  disk_.clear();
  restart(0);
}

void MemoryRedis::advance(int64_t now_us) {
  while (!on_the_way_.empty() && on_the_way_.front().arrive_us <= now_us) {
    OnTheWay request = std::move(on_the_way_.front());
    on_the_way_.pop_front();
    arrive(request);
  }
}

MemoryRedis::Ticket MemoryRedis::submit(const Epoch& epoch, Batch batch, int64_t now_us,
                                        bool overfills) {
  Ticket ticket = next_ticket_++;
  answers_[ticket] = {};
  OnTheWay request{now_us + delay_us_ / 2, ticket,   connections_, epoch,
                   std::move(batch),       overfills};
  auto after =
      std::upper_bound(on_the_way_.begin(), on_the_way_.end(), request.arrive_us,
                       [](int64_t us, const OnTheWay& other) { return us < other.arrive_us; });
  on_the_way_.insert(after, std::move(request));
  return ticket;
}

MemoryRedis::Answer MemoryRedis::submit_now(const Epoch& epoch, Batch batch) {
  OnTheWay request{0, next_ticket_++, connections_, epoch, std::move(batch), true};
  answers_[request.ticket] = {};
  arrive(request);
  Answer answer = std::move(answers_[request.ticket]);
  answers_.erase(request.ticket);
  return answer;
}

void MemoryRedis::arrive(OnTheWay& request) {
  Answer answer;
  Meta now = meta();
  if (!now.exists || !(now.epoch == request.epoch)) {
    answer.outcome = Outcome::kFenced;
  } else if (now.batch + 1 != request.batch.number) {
    answer.outcome = Outcome::kStale;
  } else if (refusal_) {
    answer.outcome = Outcome::kRefused;
    answer.error = *refusal_;
  } else if (full_ && !request.overfills) {
    answer.outcome = Outcome::kRefused;
    answer.error = {proto::Code::kStoreRefused, "Redis is full", 0};
    answer.full = true;
  } else {
    answer.outcome = Outcome::kApplied;
    std::set<SessionName> left_out;
    Change change;
    change.batch = request.batch.number;
    for (auto& op : request.batch.ops) {
      SessionName session{session_of(op)};
      if (bad_sessions_.count(session) != 0) {
        left_out.insert(session);
      } else {
        change.ops.push_back(std::move(op));
      }
    }
    for (const auto& session : left_out) {
      answer.refused.emplace_back(
          session, "WRONGTYPE Operation against a key holding the wrong kind of value");
    }
    commit(std::move(change));
  }
  if (auto found = answers_.find(request.ticket); found != answers_.end())
    found->second = std::move(answer);
}

bool MemoryRedis::claim(const Meta& before, const Meta& after) {
  Meta now = meta();
  if (now.exists != before.exists || !(now.epoch == before.epoch) || now.batch != before.batch)
    return false;
  Change change;
  change.batch = after.batch;
  change.meta = after.fields();
  commit(std::move(change));
  return true;
}

void MemoryRedis::commit(Change change) {
  apply(live_, change);
  if (has_replica_ && !replica_behind_) unreplicated_.push_back(change);
  while (!replica_stopped_ && unreplicated_.size() > unsynced_max_) {
    apply(replica_, unreplicated_.front());
    unreplicated_.pop_front();
  }
  unsynced_.push_back(std::move(change));
  while (unsynced_.size() > unsynced_max_) {
    apply(disk_, unsynced_.front());
    unsynced_.pop_front();
  }
}

void MemoryRedis::apply(MemoryKeys& keys, const Change& change) {
  for (const auto& op : change.ops) broker::apply(keys, op);
  auto& hash = at<MemoryHash>(keys, std::string(proto::kMetaKey));
  if (change.meta) {
    for (const auto& [name, value] : *change.meta) hash[name] = value;
  }
  hash["batch"] = std::to_string(change.batch);
}

Meta MemoryRedis::meta() const {
  auto found = live_.find(proto::kMetaKey);
  if (found == live_.end()) return {};
  const auto& hash = *std::get_if<MemoryHash>(&found->second);
  auto parsed = Meta::from({hash.begin(), hash.end()});
  return parsed ? *parsed : Meta{};
}

uint64_t MemoryRedis::on_disk() const {
  auto found = disk_.find(proto::kMetaKey);
  if (found == disk_.end()) return 0;
  const auto& hash = *std::get_if<MemoryHash>(&found->second);
  auto batch = hash.find("batch");
  return batch == hash.end() ? 0 : proto::parse_number<uint64_t>(batch->second).value_or(0);
}

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/store/memory_read.hpp"

#include <algorithm>

#include "proto/keys.hpp"
#include "proto/run_list.hpp"
#include "proto/text.hpp"

namespace flame::broker {

namespace {

template <class T>
const T* find(const MemoryKeys& keys, std::string_view key) {
  auto found = keys.find(key);
  return found == keys.end() ? nullptr : std::get_if<T>(&found->second);
}

std::vector<std::pair<std::string, std::string>> pairs(const MemoryKeys& keys,
                                                       std::string_view key) {
  auto hash = find<MemoryHash>(keys, key);
  if (hash == nullptr) return {};
  return {hash->begin(), hash->end()};
}

uint64_t number_of(const MemoryKeys& keys, const SessionName& session, std::string_view field) {
  auto hash = find<MemoryHash>(keys, proto::session_key(session));
  if (hash == nullptr) return 0;
  auto found = hash->find(field);
  return found == hash->end() ? 0 : proto::parse_number<uint64_t>(found->second).value_or(0);
}

RecoveredSession recover_session(const MemoryKeys& keys, const SessionName& name) {
  RecoveredSession session;
  session.session = name;
  session.fields = pairs(keys, proto::session_key(name));
  session.submits = pairs(keys, proto::submits_key(name));
  session.readers = pairs(keys, proto::readers_key(name));
  for (const auto& [task, charged] : pairs(keys, proto::attempts_key(name))) {
    session.attempts.emplace_back(proto::parse_number<uint64_t>(task).value_or(0),
                                  proto::parse_number<proto::Attempt>(charged).value_or(0));
  }
  std::sort(session.attempts.begin(), session.attempts.end());
  auto done = find<MemoryList>(keys, proto::done_key(name));
  session.done_length = done == nullptr ? 0 : done->size();
  uint64_t tasks = number_of(keys, name, "tasks");
  for (uint64_t k = number_of(keys, name, "first_segment"); k * proto::kSegmentTasks < tasks; k++) {
    if (auto letters = find<std::string>(keys, proto::state_key(name, k))) {
      session.states.emplace_back(k, *letters);
    }
    for (const auto& [run, value] : pairs(keys, proto::input_key(name, k))) {
      if (auto parsed = proto::parse_run(run)) session.inputs.push_back(*parsed);
    }
  }
  std::sort(session.inputs.begin(), session.inputs.end());
  return session;
}

proto::Bytes field_of(const MemoryKeys& keys, const std::string& key, const std::string& field) {
  auto hash = find<MemoryHash>(keys, key);
  if (hash == nullptr) return {};
  auto found = hash->find(field);
  return found == hash->end() ? proto::Bytes() : proto::Bytes::copy(found->second);
}

struct Values {
  std::vector<proto::Run> runs;  ///< the first of those asked for
  std::vector<proto::Bytes> values;
};

// As many as fit in `bytes_max`, but always one.
Values fitting(const MemoryKeys& keys, const SessionName& session,
               std::string (*key)(std::string_view, uint64_t), const std::vector<proto::Run>& runs,
               uint64_t bytes_max) {
  Values fit;
  uint64_t bytes = 0;
  for (const auto& run : runs) {
    auto value = field_of(keys, key(session, proto::segment_of(run.first)), to_string(run));
    bytes += value.size();
    if (bytes > bytes_max && !fit.runs.empty()) break;
    fit.runs.push_back(run);
    fit.values.push_back(std::move(value));
  }
  return fit;
}

}  // namespace

Recovered recover(const MemoryKeys& keys) {
  Recovered recovered;
  auto meta = Meta::from(pairs(keys, proto::kMetaKey));
  if (meta) {
    recovered.cluster = meta->cluster;
    recovered.epoch = meta->epoch.text();
    recovered.epoch_number = meta->epoch.number;
    recovered.lineage = meta->lineage;
    recovered.secret = meta->secret_bytes();
    recovered.last_batch = meta->batch;
  }
  recovered.applications = pairs(keys, proto::kAppsKey);
  recovered.executors = pairs(keys, proto::kExecutorsKey);
  auto sessions = find<MemoryZset>(keys, proto::kSessionsKey);
  if (sessions == nullptr) return recovered;
  std::vector<std::pair<int64_t, std::string>> oldest_first;
  for (const auto& [name, created] : *sessions) oldest_first.emplace_back(created, name);
  std::sort(oldest_first.begin(), oldest_first.end());
  for (const auto& [created, name] : oldest_first)
    recovered.sessions.push_back(recover_session(keys, name));
  return recovered;
}

StoreEvent answer_read(const MemoryKeys& keys, const ReadOutputs& read) {
  OutputsRead answer{read.tag, read.index_first, {}, {}, {}};
  auto done = find<MemoryList>(keys, proto::done_key(read.session));
  uint64_t size = done == nullptr ? 0 : done->size();
  // The caller's view of the list may be one trim behind or ahead: the absolute index decides.
  uint64_t done_first = number_of(keys, read.session, "done_first");
  if (read.index_first < done_first) {
    answer.error = {proto::Code::kTrimmed,
                    "results before index " + std::to_string(done_first) + " are dropped"};
    return answer;
  }
  std::vector<proto::Run> runs;
  for (uint64_t i = read.index_first - done_first; i < size && runs.size() < read.count; i++) {
    if (auto run = proto::parse_run((*done)[i])) runs.push_back(*run);
  }
  auto fit = fitting(keys, read.session, proto::output_key, runs, read.bytes_max);
  answer.runs = std::move(fit.runs);
  answer.values = std::move(fit.values);
  return answer;
}

StoreEvent answer_read(const MemoryKeys& keys, const ReadInputs& read) {
  auto fit = fitting(keys, read.session, proto::input_key, read.runs, read.bytes_max);
  return InputsRead{read.tag, std::move(fit.runs), std::move(fit.values), {}};
}

StoreEvent answer_read(const MemoryKeys& keys, const ReadCommon& read) {
  auto value = find<std::string>(keys, proto::common_key(read.session));
  return CommonRead{read.tag, value == nullptr ? proto::Bytes() : proto::Bytes::copy(*value), {}};
}

StoreEvent answer_read(const MemoryKeys& keys, const ReadEvents& read) {
  EventsRead answer{read.tag, {}, {}};
  auto stream = find<MemoryStream>(keys, proto::events_key(read.session));
  if (stream == nullptr) return answer;
  for (const auto& event : *stream) {
    answer.events.push_back(
        proto::Map{{"at_ms", event.at_ms}, {"code", event.code}, {"text", event.text}});
  }
  return answer;
}

StoreEvent answer_read(const MemoryKeys& keys, const ReadStates& read) {
  uint64_t segment = proto::segment_of(read.run.first);
  auto letters = find<std::string>(keys, proto::state_key(read.session, segment));
  uint64_t from = proto::offset_in_segment(read.run.first);
  if (letters == nullptr || from >= letters->size()) return StatesRead{read.tag, "", {}};
  return StatesRead{read.tag, letters->substr(from, read.run.count), {}};
}

StoreEvent answer_read(const MemoryKeys& keys, const FindOutputs& read) {
  OutputsFound answer{read.tag, {}, {}, UINT64_MAX, {}};
  auto done = find<MemoryList>(keys, proto::done_key(read.session));
  if (done == nullptr) return answer;
  std::vector<proto::Run> runs;
  for (const auto& entry : *done) {
    auto run = proto::parse_run(entry);
    if (run && proto::count_of(read.tasks, *run) > 0) runs.push_back(*run);
  }
  std::sort(runs.begin(), runs.end());
  auto fit = fitting(keys, read.session, proto::output_key, runs, read.bytes_max);
  if (fit.runs.size() < runs.size()) answer.end = runs[fit.runs.size()].first;
  answer.runs = std::move(fit.runs);
  answer.values = std::move(fit.values);
  return answer;
}

// No autoscaler writes into memory.
StoreEvent answer_read(const MemoryKeys&, const ReadScale& read) {
  return ScaleRead{read.tag, {}, {}, {}};
}

}  // namespace flame::broker

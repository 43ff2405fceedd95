// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/store/redis_reads.hpp"

#include <algorithm>

#include "broker/store/redis_facts.hpp"
#include "proto/keys.hpp"
#include "proto/run_list.hpp"
#include "proto/text.hpp"

namespace flame::broker {

namespace {

using proto::Run;
using proto::segment_of;
using runtime::RedisReplies;
using runtime::RedisReply;
using runtime::RedisRequest;

constexpr int64_t kReadTimeoutUs = 20 * proto::kUsPerSecond;
// Of `done`: a short command for Redis, a few steps for a long list.
constexpr uint64_t kEntriesAtOnce = 4096;

/// One HMGET per stretch of runs in one segment; the values come back in the order of `runs`.
RedisRequest values_of(const SessionName& session, const std::vector<Run>& runs,
                       std::string (*key)(std::string_view, uint64_t)) {
  RedisRequest request;
  for (size_t from = 0; from < runs.size();) {
    uint64_t segment = segment_of(runs[from].first);
    std::vector<std::string> names;
    for (; from < runs.size() && segment_of(runs[from].first) == segment; from++) {
      names.push_back(to_string(runs[from]));
    }
    std::string name = key(session, segment);
    std::vector<std::string_view> command = {"HMGET", name};
    command.insert(command.end(), names.begin(), names.end());
    request.add(command);
  }
  return request;
}

proto::Error take_values(RedisReplies& replies, std::vector<proto::Bytes>& values) {
  for (auto& reply : replies) {
    if (reply.is_error()) return explain(reply.text, "its place").error;
    for (auto& item : reply.items) {
      values.push_back(item.is_nil() ? proto::Bytes() : proto::Bytes::own(std::move(item.text)));
    }
  }
  return {};
}

uint64_t tag_of(const StoreRead& read) {
  return std::visit([](const auto& r) { return r.tag; }, read);
}

}  // namespace

RedisReads::RedisReads(runtime::RedisConnection& connection, std::function<void(StoreEvent)> answer,
                       std::function<void(proto::Error)> trouble)
    : connection_(connection), answer_(std::move(answer)), trouble_(std::move(trouble)) {}

void RedisReads::ask(StoreRead read) {
  uint64_t id = next_++;
  waiting_.emplace(id, std::move(read));
  if (running_) send(id);
}

void RedisReads::resume() {
  running_ = true;
  std::vector<uint64_t> ids;  // an answer may come at once and end its entry
  for (const auto& [id, read] : waiting_) ids.push_back(id);
  for (uint64_t id : ids) send(id);
}

void RedisReads::send(uint64_t id) {
  std::visit([this, id](const auto& read) { send(id, read); }, waiting_.at(id));
}

void RedisReads::finish(uint64_t id, StoreEvent event) {
  waiting_.erase(id);
  answer_(std::move(event));
}

// A Redis that cannot answer now is no answer; the question stays.
bool RedisReads::transient(const RedisReply& reply) {
  auto word = reply.error_word();
  if (word != "LOADING" && word != "BUSY" && word != "MASTERDOWN" && word != "NOAUTH" &&
      word != "NOPERM")
    return false;
  trouble_(explain(reply.text, "its place").error);
  return true;
}

// The position in the list is only good together with the count of what was trimmed before it.
void RedisReads::send(uint64_t id, const ReadOutputs& read) {
  if (read.count == 0) return finish(id, OutputsRead{read.tag, read.index_first, {}, {}, {}});
  RedisRequest request;
  request.add({"MULTI"});
  request.add({"HGET", proto::session_key(read.session), "done_first"});
  request.add({"LRANGE", proto::done_key(read.session), std::to_string(read.first),
               std::to_string(read.first + read.count - 1)});
  request.add({"EXEC"});
  connection_.send(std::move(request), kReadTimeoutUs,
                   [this, id](RedisReplies&& replies) { take_done(id, std::move(replies)); });
}

void RedisReads::take_done(uint64_t id, RedisReplies&& replies) {
  auto& read = std::get<ReadOutputs>(waiting_.at(id));
  OutputsRead answer{read.tag, read.index_first, {}, {}, {}};
  if (transient(replies[3])) return;
  if (replies[3].items.size() != 2 || replies[3].items[1].is_error()) {
    const auto& bad = replies[3].items.size() == 2 ? replies[3].items[1] : replies[3];
    answer.error = explain(bad.text, "its place").error;
    return finish(id, std::move(answer));
  }
  uint64_t done_first = proto::parse_number<uint64_t>(replies[3].items[0].text).value_or(0);
  if (read.index_first < done_first) {
    answer.error = {proto::Code::kTrimmed,
                    "results before index " + std::to_string(done_first) + " are dropped", 0};
    return finish(id, std::move(answer));
  }
  if (read.index_first - done_first != read.first) {  // trimmed between the asker's view and ours
    read.first = read.index_first - done_first;
    return send(id, read);
  }
  for (const auto& item : replies[3].items[1].items) {
    if (auto run = proto::parse_run(item.text)) answer.runs.push_back(*run);
  }
  if (answer.runs.empty()) return finish(id, std::move(answer));
  auto runs = std::move(answer.runs);
  fetch_fitting(read.session, proto::output_key, std::move(runs), read.bytes_max,
                [this, id, answer = std::move(answer)](Values got) mutable {
                  answer.runs = std::move(got.runs);
                  answer.values = std::move(got.values);
                  answer.error = std::move(got.error);
                  finish(id, std::move(answer));
                });
}

// What would not fit is not fetched: an output may have 64 MiB.
void RedisReads::fetch_fitting(const SessionName& session, Key key, std::vector<Run> runs,
                               uint64_t bytes_max, TakeValues take) {
  if (runs.size() == 1 || bytes_max == UINT64_MAX) {
    return fetch(session, key, std::move(runs), std::move(take));
  }
  RedisRequest request;
  for (const auto& run : runs) {
    request.add({"HSTRLEN", key(session, segment_of(run.first)), to_string(run)});
  }
  auto measured = [this, session, key, bytes_max, runs = std::move(runs),
                   take = std::move(take)](RedisReplies&& replies) mutable {
    if (transient(replies[0])) return;
    uint64_t bytes = 0;
    size_t fit = 0;
    for (; fit < replies.size(); fit++) {
      bytes += static_cast<uint64_t>(std::max<int64_t>(0, replies[fit].integer));
      if (bytes > bytes_max) break;
    }
    runs.resize(std::max<size_t>(1, fit));
    fetch(session, key, std::move(runs), std::move(take));
  };
  connection_.send(std::move(request), kReadTimeoutUs, std::move(measured));
}

void RedisReads::fetch(const SessionName& session, Key key, std::vector<Run> runs,
                       TakeValues take) {
  auto request = values_of(session, runs, key);
  auto fetched = [this, runs = std::move(runs),
                  take = std::move(take)](RedisReplies&& replies) mutable {
    if (transient(replies[0])) return;
    Values got;
    got.runs = std::move(runs);
    got.error = take_values(replies, got.values);
    take(std::move(got));
  };
  connection_.send(std::move(request), kReadTimeoutUs, std::move(fetched));
}

void RedisReads::send(uint64_t id, const ReadInputs& read) {
  if (read.runs.empty()) return finish(id, InputsRead{read.tag, {}, {}, {}});
  fetch_fitting(read.session, proto::input_key, read.runs, read.bytes_max, [this, id](Values got) {
    finish(id, InputsRead{tag_of(waiting_.at(id)), std::move(got.runs), std::move(got.values),
                          std::move(got.error)});
  });
}

void RedisReads::send(uint64_t id, const ReadCommon& read) {
  RedisRequest request({"GET", proto::common_key(read.session)});
  connection_.send(std::move(request), kReadTimeoutUs, [this, id](RedisReplies&& replies) {
    if (transient(replies[0])) return;
    CommonRead answer{tag_of(waiting_.at(id)), {}, {}};
    if (replies[0].is_error()) {
      answer.error = explain(replies[0].text, "its place").error;
    } else if (!replies[0].is_nil()) {
      answer.value = proto::Bytes::own(std::move(replies[0].text));
    }
    finish(id, std::move(answer));
  });
}

void RedisReads::send(uint64_t id, const ReadStates& read) {
  uint64_t from = proto::offset_in_segment(read.run.first);
  RedisRequest request({"GETRANGE", proto::state_key(read.session, segment_of(read.run.first)),
                        std::to_string(from), std::to_string(from + read.run.count - 1)});
  connection_.send(std::move(request), kReadTimeoutUs, [this, id](RedisReplies&& replies) {
    if (transient(replies[0])) return;
    StatesRead answer{tag_of(waiting_.at(id)), {}, {}};
    if (replies[0].is_error()) {
      answer.error = explain(replies[0].text, "its place").error;
    } else {
      answer.letters = std::move(replies[0].text);
    }
    finish(id, std::move(answer));
  });
}

void RedisReads::send(uint64_t id, const FindOutputs& read) {
  search(id, 0, {}, proto::count_of(read.tasks));
}

// From the end of the list: what is trimmed meanwhile leaves at the front, and what is added makes
// us see an entry twice, never miss one. No single command holds Redis up.
void RedisReads::search(uint64_t id, uint64_t from_end, std::set<Run> found, uint64_t missing) {
  const auto& read = std::get<FindOutputs>(waiting_.at(id));
  RedisRequest request({"LRANGE", proto::done_key(read.session),
                        "-" + std::to_string(from_end + kEntriesAtOnce),
                        "-" + std::to_string(from_end + 1)});
  auto seen = [this, id, from_end, found = std::move(found),
               missing](RedisReplies&& replies) mutable {
    if (transient(replies[0])) return;
    const auto& read = std::get<FindOutputs>(waiting_.at(id));
    OutputsFound answer{read.tag, {}, {}, UINT64_MAX, {}};
    if (replies[0].is_error()) {
      answer.error = explain(replies[0].text, "its place").error;
      return finish(id, std::move(answer));
    }
    for (const auto& item : replies[0].items) {
      auto run = proto::parse_run(item.text);
      uint64_t common = run ? proto::count_of(read.tasks, *run) : 0;
      if (common > 0 && found.insert(*run).second) missing -= std::min(missing, common);
    }
    if (replies[0].items.size() == kEntriesAtOnce && missing > 0) {
      return search(id, from_end + kEntriesAtOnce, std::move(found), missing);
    }
    if (found.empty()) return finish(id, std::move(answer));
    std::vector<Run> runs(found.begin(), found.end());
    fetch_fitting(read.session, proto::output_key, runs, read.bytes_max,
                  [this, id, runs, answer = std::move(answer)](Values got) mutable {
                    if (got.runs.size() < runs.size()) answer.end = runs[got.runs.size()].first;
                    answer.runs = std::move(got.runs);
                    answer.values = std::move(got.values);
                    answer.error = std::move(got.error);
                    finish(id, std::move(answer));
                  });
  };
  connection_.send(std::move(request), kReadTimeoutUs, std::move(seen));
}

void RedisReads::send(uint64_t id, const ReadEvents& read) {
  RedisRequest request({"XRANGE", proto::events_key(read.session), "-", "+"});
  connection_.send(std::move(request), kReadTimeoutUs, [this, id](RedisReplies&& replies) {
    if (transient(replies[0])) return;
    EventsRead answer{tag_of(waiting_.at(id)), {}, {}};
    if (replies[0].is_error()) answer.error = explain(replies[0].text, "its place").error;
    for (auto& entry : replies[0].items) {  // [id, [at, 1, code, x, text, y]]
      if (entry.items.size() != 2 || entry.items[1].items.size() != 6) continue;
      auto& fields = entry.items[1].items;
      answer.events.push_back(
          proto::Map{{"at_ms", proto::parse_number<int64_t>(fields[1].text).value_or(0)},
                     {"code", std::move(fields[3].text)},
                     {"text", std::move(fields[5].text)}});
    }
    finish(id, std::move(answer));
  });
}

// Not the broker's keys: what does not look as expected is left out.
void RedisReads::send(uint64_t id, const ReadScale& read) {
  RedisRequest request;
  request.add({"HGETALL", proto::kScaleKey});
  if (read.decisions) {
    request.add({"XREVRANGE", proto::kDecisionsKey, "+", "-", "COUNT",
                 std::to_string(proto::kDecisionsKept)});
  }
  connection_.send(std::move(request), kReadTimeoutUs, [this, id](RedisReplies&& replies) {
    if (transient(replies[0])) return;
    ScaleRead answer{tag_of(waiting_.at(id)), {}, {}, {}};
    for (const auto& reply : replies) {
      if (reply.is_error()) answer.error = explain(reply.text, "its place").error;
    }
    for (size_t i = 0; i + 1 < replies[0].items.size(); i += 2) {
      auto row = proto::decode_value(replies[0].items[i + 1].text);
      if (row && row->map() != nullptr) answer.rows.push_back(std::move(*row));
    }
    if (replies.size() == 1) return finish(id, std::move(answer));
    for (const auto& entry : replies[1].items) {  // [id, [field, value ...]]
      proto::Map decision;
      for (size_t i = 0; entry.items.size() == 2 && i + 1 < entry.items[1].items.size(); i += 2) {
        const std::string& text = entry.items[1].items[i + 1].text;
        auto number = proto::parse_number<int64_t>(text);
        decision.emplace_back(entry.items[1].items[i].text,
                              number ? proto::Value(*number) : proto::Value(text));
      }
      answer.decisions.push_back(std::move(decision));
    }
    finish(id, std::move(answer));
  });
}

}  // namespace flame::broker

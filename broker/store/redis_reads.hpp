// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Questions that the core asks while it runs. A question whose connection broke is asked again on
// the next one.

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "broker/store/store.hpp"
#include "runtime/redis_connection.hpp"

namespace flame::broker {

class RedisReads {
 public:
  /// `answer` gets each event. `trouble`: Redis refused for now; the owner reconnects and calls
  /// resume().
  RedisReads(runtime::RedisConnection& connection, std::function<void(StoreEvent)> answer,
             std::function<void(proto::Error)> trouble);

  void ask(StoreRead read);
  /// The connection is good: send what waits.
  void resume();
  /// The connection is gone or must not be used.
  void pause() { running_ = false; }
  size_t waiting() const { return waiting_.size(); }

 private:
  struct Values {
    std::vector<proto::Run> runs;  ///< the first of those asked for
    std::vector<proto::Bytes> values;
    proto::Error error;
  };
  using TakeValues = std::function<void(Values)>;
  using Key = std::string (*)(std::string_view session, uint64_t segment);

  void send(uint64_t id);
  void send(uint64_t id, const ReadOutputs& read);
  void send(uint64_t id, const ReadInputs& read);
  void send(uint64_t id, const ReadCommon& read);
  void send(uint64_t id, const ReadEvents& read);
  void send(uint64_t id, const ReadStates& read);
  void send(uint64_t id, const FindOutputs& read);
  void send(uint64_t id, const ReadScale& read);
  void take_done(uint64_t id, runtime::RedisReplies&& replies);
  void search(uint64_t id, uint64_t from_end, std::set<proto::Run> found, uint64_t missing);
  /// The fields of as many of `runs` as fit in `bytes_max`, but always of one.
  void fetch_fitting(const SessionName& session, Key key, std::vector<proto::Run> runs,
                     uint64_t bytes_max, TakeValues take);
  void fetch(const SessionName& session, Key key, std::vector<proto::Run> runs, TakeValues take);
  bool transient(const runtime::RedisReply& reply);
  void finish(uint64_t id, StoreEvent event);

  runtime::RedisConnection& connection_;
  std::function<void(StoreEvent)> answer_;
  std::function<void(proto::Error)> trouble_;
  std::map<uint64_t, StoreRead> waiting_;  ///< by the order of asking
  uint64_t next_ = 1;
  bool running_ = false;
};

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/store/redis_durable.hpp"

#include <algorithm>

#include "broker/store/redis_facts.hpp"
#include "proto/keys.hpp"
#include "proto/text.hpp"
#include "proto/time.hpp"

namespace flame::broker {

using runtime::RedisReplies;
using runtime::RedisReply;
using runtime::RedisRequest;

namespace {

// Long enough for an fsync of `everysec`; after it the reason is said, and the wait goes on.
constexpr int64_t kWaitMs = 2000;
constexpr int64_t kReplyTimeoutUs = kWaitMs * proto::kUsPerMs + 10 * proto::kUsPerSecond;

}  // namespace

RedisDurable::RedisDurable(runtime::EventLoop& loop, runtime::RedisAddress address,
                           proto::Durability level, uint64_t replicas, Owner owner)
    : loop_(loop),
      place_(address.shown()),
      level_(level),
      replicas_(replicas),
      owner_(std::move(owner)),
      connection_(loop, std::move(address),
                  {[this] {
                     opening_ = false;
                     ask();
                   },
                   [this](const proto::Error& error) {
                     opening_ = false;
                     try_later(error.message);
                   }}) {}

RedisDurable::~RedisDurable() {
  if (retry_timer_ != 0) loop_.cancel(retry_timer_);
}

void RedisDurable::await(uint64_t batch) {
  wanted_ = std::max(wanted_, batch);
  if (batch <= reached_) return owner_.reached(reached_);
  ask();
}

void RedisDurable::resume(std::string epoch) {
  epoch_ = std::move(epoch);
  ask();
}

void RedisDurable::pause() {
  connection_.close();
  if (retry_timer_ != 0) loop_.cancel(std::exchange(retry_timer_, 0));
  backoff_.reset();
  epoch_.clear();
  opening_ = false;
  reached_ = round_ = 0;
}

void RedisDurable::forget() {
  pause();
  wanted_ = 0;
}

void RedisDurable::ask() {
  if (epoch_.empty() || wanted_ <= reached_ || round_ != 0 || retry_timer_ != 0) return;
  if (!connection_.is_open()) {
    if (!std::exchange(opening_, true)) connection_.open(kConnectTimeoutUs);
    return;
  }
  round_ = wanted_;
  RedisRequest request;
  request.add({"HMGET", proto::kMetaKey, "epoch", "batch"});
  request.add({"HSET", proto::kDurableKey, proto::name_of(level_), std::to_string(round_)});
  wait(std::move(request));
}

void RedisDurable::wait(RedisRequest request) {
  std::string ms = std::to_string(kWaitMs);
  if (level_ == proto::Durability::kSynced) {
    request.add({"WAITAOF", "1", "0", ms});
  } else {
    request.add({"WAIT", std::to_string(replicas_), ms});
  }
  connection_.send(std::move(request), kReplyTimeoutUs,
                   [this](RedisReplies&& replies) { on_round(std::move(replies)); });
}

void RedisDurable::on_round(RedisReplies&& replies) {
  for (const auto& reply : replies) {
    if (reply.is_error()) return try_later(explain(reply.text, place_).error.message);
  }
  if (replies.size() > 1) {
    const auto& meta = replies.front().items;
    bool ours = meta.size() == 2 && meta[0].text == epoch_;
    bool has_it = ours && proto::parse_number<uint64_t>(meta[1].text).value_or(0) >= round_;
    // The store's other connections see that too, and know what to do; here it only must not count.
    if (!has_it) return try_later("Redis at " + place_ + " came back without the batch");
  }
  on_wait(replies.back());
}

void RedisDurable::on_wait(const RedisReply& reply) {
  bool on_disk = level_ == proto::Durability::kSynced;
  int64_t have = on_disk ? (reply.items.empty() ? 0 : reply.items[0].integer) : reply.integer;
  if (have >= (on_disk ? 1 : static_cast<int64_t>(replicas_))) {
    reached_ = std::exchange(round_, 0);
    backoff_.reset();
    owner_.reached(reached_);
    return ask();
  }
  owner_.late(on_disk ? "the disk of Redis at " + place_ + " takes more than " +
                            std::to_string(kWaitMs) + " ms for an fsync"
                      : std::to_string(have) + " of " + std::to_string(replicas_) +
                            " replicas of Redis at " + place_ + " have confirmed within " +
                            std::to_string(kWaitMs) + " ms; see INFO replication there");
  wait({});  // for the same write: one that is always a little late must not be asked for more
}

void RedisDurable::try_later(std::string reason) {
  round_ = 0;
  owner_.late(std::move(reason));
  if (retry_timer_ != 0 || epoch_.empty()) return;
  retry_timer_ = loop_.call_at(loop_.now().mono_us + backoff_.next_us(), [this] {
    retry_timer_ = 0;
    ask();
  });
}

}  // namespace flame::broker

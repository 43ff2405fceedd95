// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// The steady state: one batch on its way, the next ones waiting, and a look at Redis now and then.

#include <algorithm>

#include "broker/store/redis_store.hpp"
#include "broker/store/sent_batch.hpp"
#include "proto/keys.hpp"
#include "proto/text.hpp"
#include "runtime/assert.hpp"
#include "runtime/log.hpp"

namespace flame::broker {

using runtime::RedisReplies;
using runtime::RedisReply;
using runtime::RedisRequest;

namespace {

constexpr int64_t kPollUs = proto::kUsPerSecond;
constexpr int64_t kFastPollUs =
    50'000;  // a filling ring is worth an INFO of a few ten microseconds

}  // namespace

void RedisStore::write(Batch batch, proto::Now) {
  queue_.push_back(std::move(batch));
  pump();
}

void RedisStore::pump() {
  if (phase_ != Phase::kReady) return;
  if (in_flight_) {
    if (!in_flight_->sent && !refuse_backoff_.waiting()) send_in_flight();
    return;
  }
  if (!queue_.empty()) {
    if (!encode(queue_.front())) return;
    queue_.pop_front();
    return send_in_flight();
  }
  if (closing_) start_close();
}

// Into the ring, from where it is sent. False: no room there yet.
bool RedisStore::encode(const Batch& batch) {
  FLAME_ASSERT(batch.number == confirmed_ + 1);
  size_t size_max = BatchEncoder::size_max(batch);
  bool hole = ring_ && ring_->ring().too_large(size_max);
  char* to = nullptr;
  if (ring_ && !hole) {
    to = ring_->reserve(size_max);
  } else if (!hole || ring_->ring().commit_hole(batch.number)) {
    if (hole) runtime::log::warn("a batch does not fit into the ring", {{"bytes", size_max}});
    scratch_.resize(size_max);
    to = scratch_.data();
  }
  if (bool full = to == nullptr; full != ring_full_) {
    ring_full_ = full;
    update_health();
    if (full && poll_timer_ != 0) loop_.cancel(std::exchange(poll_timer_, 0));
    if (full) schedule_poll();
  }
  if (to == nullptr) return false;
  EncodedBatch encoded = encoder_.encode(batch, to);
  FLAME_ASSERT(encoded.bytes <= size_max);
  if (ring_ && !hole) ring_->ring().commit(batch.number, encoded.bytes, encoded.replies);
  in_flight_ = InFlight{batch.number, {to, encoded.bytes}, encoded.replies, false};
  figures_.batches++;
  figures_.batch_bytes += encoded.bytes;
  return true;
}

void RedisStore::send_in_flight() {
  in_flight_->sent = true;
  in_flight_->overfills = false;
  writer_.send(in_flight_->bytes, in_flight_->replies, config_.reply_timeout_us,
               [this](RedisReplies&& replies) { on_batch(std::move(replies)); });
}

void RedisStore::overfill_in_flight() {
  in_flight_->sent = in_flight_->overfills = true;
  send_overfilling(in_flight_->bytes, meta_.epoch.text(), in_flight_->number - 1,
                   [this](RedisReplies&& replies) { on_batch(std::move(replies)); });
}

// If flame:meta has this epoch and batch. From EXEC on, `done` gets what the transaction itself
// would have answered.
void RedisStore::send_overfilling(std::string_view bytes, const std::string& epoch, uint64_t batch,
                                  runtime::RedisConnection::OnReplies done) {
  overfilling_ = overfilling(bytes, epoch, epoch.empty() ? "" : std::to_string(batch));
  writer_.send(overfilling_, kOverfillingReplies, config_.reply_timeout_us, std::move(done));
}

void RedisStore::make_room(uint64_t number, proto::Now) {
  room_to_ = std::max(room_to_, number);
  bool waits = phase_ == Phase::kReady && in_flight_ && !in_flight_->sent;
  if (!waits || !trouble_ || !trouble_->full || !facts_.writes_when_full()) return;
  if (retry_timer_ != 0) loop_.cancel(std::exchange(retry_timer_, 0));
  overfill_in_flight();
}

void RedisStore::on_batch(RedisReplies&& replies) {
  in_flight_->sent = false;
  const auto& exec = replies[replies.size() - 3];
  const auto& fence = replies.back();
  if (exec.is_error() && fence_holds(fence, confirmed_)) {
    // EXECABORT says only that there was a reason; the first error is it.
    auto reason = std::find_if(replies.begin(), replies.end(),
                               [](const RedisReply& r) { return r.is_error(); });
    return refused(reason->text);
  }
  // Nothing was applied, or not by the epoch that we hold: look who is there and what it has.
  if (exec.is_error() || exec.is_nil() || !fence_holds(fence, in_flight_->number)) {
    if (exec.is_error()) report(explain(exec.text, place()));
    return look_at_meta();
  }
  note_refused_sessions(exec, in_flight_->bytes);
  uint64_t number = in_flight_->number;
  if (!in_flight_->overfills) note_writable();
  in_flight_.reset();
  confirm(number);
  pump();
}

// EXEC goes on after a command that fails: the others of the batch are applied.
void RedisStore::note_refused_sessions(const RedisReply& exec, std::string_view bytes) {
  std::vector<std::string> said;
  for (size_t i = 0; i < exec.items.size(); i++) {
    if (!exec.items[i].is_error()) continue;
    std::string session = session_of_command(bytes, i);
    if (std::find(said.begin(), said.end(), session) != said.end()) continue;
    said.push_back(session);
    runtime::log::error("Redis refused a command inside a batch",
                        {{"session", session}, {"reason", exec.items[i].text}});
    if (!session.empty()) say_refused({session, proto::printable(exec.items[i].text)});
  }
}

// Before Recovered nobody knows the session yet.
void RedisStore::say_refused(SessionRefused refused) {
  if (owner_) {
    events_.push_back(std::move(refused));
  } else {
    early_refused_.push_back(std::move(refused));
  }
}

// As a whole, before anything was applied. It is kept and tried again.
void RedisStore::refused(std::string_view error_text) {
  Refusal refusal = explain(error_text, place());
  if (!trouble_) runtime::log::warn("Redis refuses to write", {{"reason", refusal.error.message}});
  report(refusal);
  bool makes_room = refusal.full && in_flight_->number <= room_to_ && facts_.writes_when_full();
  if (makes_room) return overfill_in_flight();
  int64_t wait_us = refuse_backoff_.next_us();
  if (refusal.error.code == proto::Code::kUnsupported || error_text.substr(0, 8) == "READONLY") {
    refuse_backoff_.reset();
    return retry_later(connect_backoff_.next_us());  // perhaps another Redis answers there by now
  }
  retry_timer_ = loop_.call_at(now_us() + wait_us, [this] {
    retry_timer_ = 0;
    if (phase_ == Phase::kReady && in_flight_ && !in_flight_->sent) send_in_flight();
  });
}

void RedisStore::confirm(uint64_t number) {
  confirmed_ = std::max(confirmed_, number);
  refuse_backoff_.reset();
  if (facts_.synced()) free_ring(number);
  events_.push_back(BatchStored{number});
}

void RedisStore::note_writable() {
  if (!trouble_ || phase_ != Phase::kReady) return;
  trouble_.reset();
  update_health();
}

void RedisStore::free_ring(uint64_t number) {
  if (!ring_) return;
  // What is on its way may have to be sent again: its bytes are the ring's.
  if (in_flight_) number = std::min(number, in_flight_->number - 1);
  ring_->ring().free_to(number);
  if (ring_full_) pump();
}

// ---- the second connection
// ------------------------------------------------------------------------------

void RedisStore::open_reader() { reader_.open(kConnectTimeoutUs); }

void RedisStore::on_reader_open() {
  if (phase_ == Phase::kRecovering) return recover();
  reads_.resume();
  schedule_poll();
}

void RedisStore::schedule_poll() {
  if (poll_timer_ != 0) return;
  bool filling = ring_ && ring_->ring().used_bytes() > ring_->ring().capacity() / 8;
  int64_t wait_us = filling || ring_full_ ? kFastPollUs : kPollUs;
  poll_timer_ = loop_.call_at(now_us() + wait_us, [this] {
    poll_timer_ = 0;
    poll_redis();
  });
}

void RedisStore::poll_redis() {
  if (!reader_.is_open() || polling_) return schedule_poll();
  polling_ = true;
  int64_t asked_us = now_us();
  bool whole = asked_us - whole_poll_us_ >= kPollUs;
  RedisRequest request;
  if (whole) {
    whole_poll_us_ = asked_us;
    request.add({"INFO"});
    request.add({"CONFIG", "GET", "appendfsync"});
    request.add({"HGET", proto::kMetaKey, "epoch"});
    if (!config_.owner.empty()) request.add({"SET", proto::kOwnerKey, config_.owner, "PX", "5000"});
  } else {
    request.add({"INFO", "persistence"});
  }
  reader_.send(std::move(request), config_.reply_timeout_us,
               [this, asked_us, confirmed = confirmed_, whole](RedisReplies&& replies) {
                 on_poll(std::move(replies), asked_us, confirmed, whole);
               });
}

void RedisStore::on_poll(RedisReplies&& replies, int64_t asked_us, uint64_t confirmed, bool whole) {
  polling_ = false;
  if (replies[0].is_error()) return schedule_poll();
  take_info(facts_, replies[0].text);
  if (whole && !replies[1].is_error()) take_config(facts_, replies[1]);
  // One that has nothing to write would never hear from the fence that it was replaced.
  bool serves = phase_ == Phase::kReady || phase_ == Phase::kBroken;
  if (whole && serves && !replies[2].is_error() && replies[2].text != meta_.epoch.text())
    return retry_later(0);
  // Somebody may have changed a setting without which nothing is safe: eviction on, its file off.
  if (whole && phase_ == Phase::kReady && check_facts(facts_, config_.allow_volatile, place()))
    return retry_later(0);
  // What the next start will trust must be what was true: look and write flame:meta again.
  if (phase_ == Phase::kReady && facts_.synced() != (meta_.fsync == "always"))
    return retry_later(0);
  if (!facts_.synced() && facts_.aof) {
    uint64_t on_disk = fsyncs_.on_look(asked_us, now_us(), confirmed, facts_.file);
    if (on_disk != 0) free_ring(on_disk);
    // A session that was created while this Redis could do better: seldom, and not for ever.
    bool asks = !facts_.has_waitaof() && on_disk != 0 && synced_wanted_ != 0;
    if (asks) on_durable(proto::Durability::kSynced, on_disk);
  } else if (!facts_.aof && config_.allow_volatile) {
    free_ring(confirmed);  // nothing to wait for: the ring cannot help a Redis that keeps nothing
  }
  if (whole && ring_) ring_->give_back(asked_us);
  // What made room was taken, and perhaps nothing follows it that would show that there is some.
  if (trouble_ && trouble_->full && !in_flight_ && !facts_.full()) note_writable();
  if (phase_ == Phase::kReady) update_health();
  schedule_poll();
}

// ---- levels above `stored`
// ------------------------------------------------------------------------------

RedisDurable RedisStore::make_durable(proto::Durability level) {
  return RedisDurable(loop_, config_.redis, level, config_.replicas,
                      {[this, level](uint64_t batch) { on_durable(level, batch); },
                       [this, level](std::string why) {
                         events_.push_back(DurableLate{level, std::move(why)});
                       }});
}

void RedisStore::await(AwaitDurable wanted, proto::Now) {
  if (wanted.level == proto::Durability::kReplicated) {
    waits_replicated_.await(wanted.batch);
  } else {
    synced_wanted_ = std::max(synced_wanted_, wanted.batch);
    await_synced();
  }
  // What is known already is an event now, and nothing else may be about to wake the loop.
  if (!events_.empty()) loop_.call_at(now_us(), [] {});
}

void RedisStore::await_synced() {
  if (phase_ != Phase::kReady || synced_wanted_ == 0) return;
  if (facts_.synced()) return on_durable(proto::Durability::kSynced, synced_wanted_);
  if (facts_.has_waitaof()) return waits_synced_.await(synced_wanted_);
  if (facts_.aof) return;  // on_poll says it, from what INFO shows
  events_.push_back(DurableLate{proto::Durability::kSynced,
                                "Redis at " + place() + " has no append-only file any more"});
}

void RedisStore::resume_durable() {
  if (phase_ != Phase::kReady) return;
  waits_synced_.resume(meta_.epoch.text());
  waits_replicated_.resume(meta_.epoch.text());
  await_synced();
}

void RedisStore::pause_durable() {
  waits_synced_.pause();
  waits_replicated_.pause();
}

void RedisStore::on_durable(proto::Durability level, uint64_t batch) {
  if (level == proto::Durability::kSynced) {
    if (batch >= synced_wanted_) synced_wanted_ = 0;
    free_ring(batch);
  }
  events_.push_back(Durable{level, batch});
}

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// From the look to ready: raise the epoch, replay, read the state; and the clean stop, which is a
// claim too.

#include <algorithm>

#include "broker/store/redis_store.hpp"
#include "broker/store/sent_batch.hpp"
#include "proto/keys.hpp"
#include "proto/text.hpp"
#include "runtime/assert.hpp"
#include "runtime/clock.hpp"
#include "runtime/log.hpp"

namespace flame::broker {

using runtime::RedisReplies;
using runtime::RedisReply;
using runtime::RedisRequest;

namespace {

constexpr int64_t kSyncTimeoutUs = 30 * proto::kUsPerSecond;
constexpr int64_t kLookIntervalUs = 100'000;
constexpr int64_t kCloseTimeoutUs = 5 * proto::kUsPerSecond;
constexpr size_t kSecretBytes = 16;

}  // namespace

// ---- claiming
// -------------------------------------------------------------------------------------------

void RedisStore::claim_first(const Meta& meta, const Decision& decision) {
  RingState ring = ring_ ? ring_->ring().state() : RingState{};
  meta_ = meta;
  meta_.exists = true;
  meta_.schema = std::to_string(proto::kSchemaVersion);
  meta_.cluster = config_.cluster;
  // Above what the ring's owner tried to raise, too: a forgetful Redis may show less.
  bool ring_follows = ring.found && ring.lineage == meta.lineage;
  uint64_t raised = std::max(meta.epoch.number, ring_follows ? ring.epoch.number : 0);
  meta_.epoch = {raised + 1, runtime::random_u64()};
  meta_.owner = config_.owner;
  meta_.run_id = facts_.run_id;
  meta_.fsync = facts_.synced()              ? "always"
                : facts_.appendfsync.empty() ? "unknown"
                                             : facts_.appendfsync;
  meta_.clean = false;
  meta_.lost = decision.finding == Finding::kBroken ? decision.reason : "";
  if (!meta.exists) {
    meta_.lineage = runtime::random_hex(8);
    meta_.secret = runtime::random_hex(kSecretBytes);
  }
  epoch_raised_ = true;
  // A ring of something else is only forgotten where nothing is missing; a broken lineage keeps its
  // evidence.
  if (ring_ && decision.finding != Finding::kBroken) {
    if (ring_follows && decision.finding == Finding::kWhole && ring.last >= meta.batch) {
      ring_->ring().set_epoch(meta_.epoch);
    } else {
      ring_->ring().reset(meta_.lineage, meta_.epoch, meta.batch + 1, runtime::random_u64());
    }
  }
  claim(meta, &RedisStore::after_first_claim);
}

void RedisStore::claim_again(const Meta& meta, const Decision& decision) {
  epoch_raised_ = !meta.exists || !(meta.epoch == meta_.epoch);
  meta_.run_id = facts_.run_id;
  meta_.fsync = facts_.synced()              ? "always"
                : facts_.appendfsync.empty() ? "unknown"
                                             : facts_.appendfsync;
  if (decision.finding == Finding::kBroken) meta_.lost = decision.reason;
  claim(meta, &RedisStore::after_next_claim);
}

// Under the WATCH of the look. Ends with the fence of the first batch.
void RedisStore::claim(const Meta& before, Then then) {
  phase_ = Phase::kClaiming;
  meta_.batch = before.batch;
  RedisRequest request;
  std::vector<std::string_view> command = {"HSET", proto::kMetaKey};
  MetaFields fields = meta_.fields();
  for (const auto& [name, value] : fields) command.insert(command.end(), {name, value});
  std::string batch = std::to_string(before.batch);
  if (!before.exists) command.insert(command.end(), {"batch", batch});
  request.add({"MULTI"}).add(command).add({"EXEC"});
  request.add({"WATCH", proto::kMetaKey}).add({"HMGET", proto::kMetaKey, "epoch", "batch"});
  auto done = [this, then](RedisReplies&& replies) {
    for (const auto& reply : replies) {
      if (!reply.is_error() || reply.error_word() == "EXECABORT") continue;
      report(explain(reply.text, place()));
      return retry_later(connect_backoff_.next_us());
    }
    // Somebody wrote in between, perhaps the owner that is being replaced: look again at once.
    bool changed = replies[replies.size() - 3].is_nil();
    if (changed || !fence_holds(replies.back(), meta_.batch)) return look_at_meta();
    connect_backoff_.reset();
    trouble_.reset();
    (this->*then)();
  };
  std::string epoch = before.exists ? before.epoch.text() : "";
  if (overfills()) return send_overfilling(request.bytes(), epoch, before.batch, done);
  writer_.send(std::move(request), config_.reply_timeout_us, done);
}

// What was confirmed once had its place before; without it nobody could make room.
bool RedisStore::overfills() const { return facts_.full() && facts_.writes_when_full(); }

bool RedisStore::fence_holds(const RedisReply& fence, uint64_t number) const {
  return fence.items.size() == 2 && fence.items[0].text == meta_.epoch.text() &&
         fence.items[1].text == std::to_string(number);
}

void RedisStore::after_first_claim() {
  // The last one in the ring may never have been answered: only one is on its way at a time.
  uint64_t last = ring_ ? ring_->ring().state().last : 0;
  say_replay(last > meta_.batch ? last - meta_.batch - 1 : 0);
  confirmed_ = meta_.batch;
  if (decision_.finding != Finding::kBroken && decision_.finding != Finding::kFresh)
    return replay();
  after_replay();
}

void RedisStore::after_next_claim() {
  fsyncs_.reset();
  if (decision_.finding == Finding::kBroken) {
    phase_ = Phase::kBroken;
    pause_durable();
    report({{proto::Code::kLostLineage, decision_.reason}, false});
    events_.push_back(LineageBroken{decision_.reason});
    return open_reader();
  }
  say_replay(confirmed_ > meta_.batch ? confirmed_ - meta_.batch : 0);
  replay();
}

// ---- replaying
// ------------------------------------------------------------------------------------------

void RedisStore::say_replay(uint64_t forgotten) {
  if (!ring_ || !ring_->ring().find(meta_.batch + 1)) return;
  runtime::log::info(
      "replaying from the ring",
      {{"first", meta_.batch + 1}, {"last", ring_->ring().state().last}, {"answered", forgotten}});
}

// One after the other, each fenced as ever: what Redis has is the batch number it shows.
void RedisStore::replay() {
  phase_ = Phase::kReplaying;
  uint64_t stored = meta_.batch;
  auto record = ring_ ? ring_->ring().find(stored + 1) : std::nullopt;
  bool in_flight_is_next = in_flight_ && in_flight_->number == stored + 1;
  if (!record || record->replies == 0 || in_flight_is_next) return after_replay();
  figures_.replayed++;
  replaying_ = record->number;
  auto done = [this](RedisReplies&& replies) { on_replayed(std::move(replies)); };
  if (overfills()) return send_overfilling(record->bytes, meta_.epoch.text(), stored, done);
  writer_.send(record->bytes, record->replies, config_.reply_timeout_us, done);
}

void RedisStore::on_replayed(RedisReplies&& replies) {
  const auto& exec = replies[replies.size() - 3];
  if (exec.is_error()) {
    std::string text = exec.text;
    for (const auto& reply : replies) {
      if (reply.is_error() && reply.error_word() != "EXECABORT") {
        text = reply.text;
        break;
      }
    }
    report(explain(text, place()));
    return retry_later(connect_backoff_.next_us());
  }
  if (exec.is_nil() || !fence_holds(replies.back(), replaying_)) return look_at_meta();
  if (auto record = ring_->ring().find(replaying_)) note_refused_sessions(exec, record->bytes);
  meta_.batch = replaying_;
  confirmed_ = std::max(confirmed_, replaying_);
  replay();
}

void RedisStore::after_replay() {
  if (!owner_) {
    phase_ = Phase::kRecovering;
    epoch_on_disk_ = false;
    sync_epoch(&RedisStore::finish_recovery);
    return open_reader();
  }
  // Applied before the connection broke, only the answer is missing.
  if (in_flight_ && in_flight_->number <= meta_.batch) {
    uint64_t number = in_flight_->number;
    in_flight_.reset();
    confirm(number);
  }
  if (epoch_raised_) return sync_epoch(&RedisStore::after_next_sync);
  after_next_sync();
}

void RedisStore::after_next_sync() {
  phase_ = Phase::kReady;
  refuse_backoff_.reset();
  runtime::log::info("the store is back", {{"batch", confirmed_}});
  update_health();
  open_reader();
  resume_durable();
  pump();
}

// ---- the epoch on disk
// ----------------------------------------------------------------------------------

// Written meanwhile is nothing: a fence that a crash of Redis could undo is none.
void RedisStore::sync_epoch(Then then) {
  if (!facts_.aof || facts_.synced()) return (this->*then)();
  if (facts_.has_waitaof()) {
    writer_.send(RedisRequest({"WAITAOF", "1", "0", "0"}), kSyncTimeoutUs,
                 [this, then](RedisReplies&& replies) {
                   if (replies[0].is_error())
                     return sync_by_looks(then, std::make_shared<FsyncWatch>());
                   (this->*then)();
                 });
    return;
  }
  // Full, it would not take the note that the setting is to be set back.
  if (facts_.appendfsync.empty() || !facts_.fsync_on_rewrite || facts_.full()) {
    return sync_by_looks(then, std::make_shared<FsyncWatch>());
  }
  sync_by_config(then);
}

// The write is answered after its fsync, which covers all before it. flame:owner, because a write
// to flame:meta would break our own WATCH. Two steps: in one, the setting would be back before
// anything is flushed. `restore` says so to the next broker, should this one be killed in between.
void RedisStore::sync_by_config(Then then) {
  RedisRequest request;
  request.add({"MULTI"})
      .add({"HSET", proto::kMetaKey, "restore", facts_.appendfsync})
      .add({"EXEC"});
  request.add({"WATCH", proto::kMetaKey}).add({"HMGET", proto::kMetaKey, "epoch", "batch"});
  request.add({"CONFIG", "SET", "appendfsync", "always"});
  request.add({"SET", proto::kOwnerKey, config_.owner.empty() ? "-" : config_.owner, "PX", "5000"});
  writer_.send(std::move(request), kSyncTimeoutUs, [this, then](RedisReplies&& replies) {
    sync_back(then, !replies[5].is_error() && !replies[6].is_error());
  });
}

void RedisStore::sync_back(Then then, bool synced) {
  RedisRequest request;
  request.add({"CONFIG", "SET", "appendfsync", facts_.appendfsync});
  request.add({"MULTI"}).add({"HDEL", proto::kMetaKey, "restore"}).add({"EXEC"});
  request.add({"WATCH", proto::kMetaKey}).add({"HMGET", proto::kMetaKey, "epoch", "batch"});
  writer_.send(std::move(request), kSyncTimeoutUs, [this, then, synced](RedisReplies&& replies) {
    // Under the WATCH of the step before: nil if anybody wrote to flame:meta since the claim.
    if (replies[3].items.size() != 1 || !fence_holds(replies[5], meta_.batch)) {
      return retry_later(connect_backoff_.next_us());
    }
    if (synced) return (this->*then)();
    sync_by_looks(then, std::make_shared<FsyncWatch>());
  });
}

void RedisStore::sync_by_looks(Then then, const std::shared_ptr<FsyncWatch>& watch) {
  int64_t asked_us = now_us();
  writer_.send(RedisRequest({"INFO", "persistence"}), kSyncTimeoutUs,
               [this, then, watch, asked_us](RedisReplies&& replies) {
                 take_info(facts_, replies[0].text);
                 if (watch->on_look(asked_us, now_us(), 1, facts_.file) != 0)
                   return (this->*then)();
                 retry_timer_ = loop_.call_at(now_us() + kLookIntervalUs, [this, then, watch] {
                   retry_timer_ = 0;
                   sync_by_looks(then, watch);
                 });
               });
}

// ---- reading the state
// ----------------------------------------------------------------------------------

void RedisStore::recover() {
  recovery_ = std::make_unique<RedisRecovery>(
      reader_,
      [this](proto::Result<RedisRecovery::Found> found) { on_recovered(std::move(found)); });
  recovery_->start();
}

void RedisStore::on_recovered(proto::Result<RedisRecovery::Found> found) {
  if (!found) return on_lost(found.error());
  found_ = std::move(*found);
  if (epoch_on_disk_) return finish_recovery();
}

// Called twice: the epoch is on disk, the state is read. The later one goes on.
void RedisStore::finish_recovery() {
  if (!epoch_on_disk_ && !found_) {
    epoch_on_disk_ = true;
    return;
  }
  epoch_on_disk_ = true;
  if (!found_) return;
  Recovered recovered = std::move(found_->recovered);
  recovered.cluster = meta_.cluster;
  recovered.epoch = meta_.epoch.text();
  recovered.epoch_number = meta_.epoch.number;
  recovered.lineage = meta_.lineage;
  recovered.secret = meta_.secret_bytes();
  recovered.last_batch = confirmed_;
  recovered.lineage_broken = !meta_.lost.empty();
  recovered.reason = meta_.lost;
  recovered.abilities = facts_.abilities();
  owner_ = true;
  phase_ = recovered.lineage_broken ? Phase::kBroken : Phase::kReady;
  if (recovered.lineage_broken) trouble_ = Refusal{{proto::Code::kLostLineage, meta_.lost}, false};
  runtime::log::info("state read", {{"epoch", meta_.epoch.text()},
                                    {"batch", confirmed_},
                                    {"sessions", recovered.sessions.size()},
                                    {"lineage", recovered.lineage_broken ? "broken" : "whole"}});
  events_.push_back(std::move(recovered));
  for (auto& refused : found_->refused) events_.push_back(std::move(refused));
  for (auto& refused : std::exchange(early_refused_, {})) events_.push_back(std::move(refused));
  found_.reset();
  update_health();
  reads_.resume();
  schedule_poll();
  resume_durable();
  pump();
}

// ---- a new lineage
// --------------------------------------------------------------------------------------

void RedisStore::accept_loss(proto::Now) {
  if (!owner_ || meta_.lost.empty() || accepting_) return;
  accepting_ = true;  // until it is written: a connection may break meanwhile
  new_lineage_ = runtime::random_hex(8);
  in_flight_.reset();
  queue_.clear();
  if (phase_ == Phase::kBroken) look_at_meta();
}

void RedisStore::claim_accept(const Meta& meta) {
  meta_.lineage = new_lineage_;
  meta_.secret = runtime::random_hex(kSecretBytes);
  meta_.lost.clear();
  reads_.pause();
  reader_.close();
  waits_synced_.forget();
  waits_replicated_.forget();
  synced_wanted_ = room_to_ = 0;
  polling_ = false;
  if (poll_timer_ != 0) loop_.cancel(std::exchange(poll_timer_, 0));
  claim(meta, &RedisStore::after_accept);
}

void RedisStore::after_accept() {
  confirmed_ = meta_.batch;
  if (ring_) ring_->ring().reset(meta_.lineage, meta_.epoch, confirmed_ + 1, runtime::random_u64());
  accepting_ = false;
  events_.push_back(LineageAccepted{});
  owner_ = false;  // read everything again, under the same epoch
  decision_ = {};
  after_replay();
}

// ---- the clean stop
// -------------------------------------------------------------------------------------

void RedisStore::close(proto::Now) {
  if (closing_) return;
  closing_ = true;
  if (phase_ == Phase::kBroken || phase_ == Phase::kIdle)
    return close_timed_out();  // nothing to mark
  close_timer_ = loop_.call_at(now_us() + kCloseTimeoutUs, [this] { close_timed_out(); });
  pump();
}

void RedisStore::close_timed_out() {
  close_timer_ = 0;
  if (phase_ == Phase::kOver) return;
  phase_ = Phase::kOver;
  writer_.close();
  reader_.close();
  pause_durable();
  // It never came so far as to write one: the file holds nothing that somebody could miss.
  if (ring_ && !ring_->ring().state().found) {
    ring_->remove();
    ring_.reset();
  }
  auto reason = trouble_ ? trouble_->error.message : std::string("Redis did not answer in time");
  events_.push_back(StoreClosed{{proto::Code::kStoreDown, "not stopped cleanly: " + reason}});
}

// The batches before it are answered; the mark is under the fence of the last one.
void RedisStore::start_close() {
  phase_ = Phase::kClosing;
  meta_.clean = true;
  Meta before = meta_;
  before.batch = confirmed_;
  claim(before, &RedisStore::after_clean_mark);
}

void RedisStore::after_clean_mark() { sync_epoch(&RedisStore::finish_close); }

void RedisStore::finish_close() {
  phase_ = Phase::kOver;
  if (close_timer_ != 0) loop_.cancel(std::exchange(close_timer_, 0));
  if (poll_timer_ != 0) loop_.cancel(std::exchange(poll_timer_, 0));
  writer_.close();
  reader_.close();
  pause_durable();
  if (ring_) ring_->remove();
  ring_.reset();
  events_.push_back(StoreClosed{});
}

}  // namespace flame::broker

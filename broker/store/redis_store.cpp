// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/store/redis_store.hpp"

#include <algorithm>

#include "proto/keys.hpp"
#include "proto/text.hpp"
#include "runtime/assert.hpp"
#include "runtime/clock.hpp"
#include "runtime/log.hpp"

namespace flame::broker {

namespace {

using runtime::RedisReplies;
using runtime::RedisRequest;

constexpr int64_t kFinalRetryUs = 2 * proto::kUsPerSecond;

}  // namespace

RedisStore::RedisStore(runtime::EventLoop& loop, RedisStoreConfig config)
    : loop_(loop),
      config_(std::move(config)),
      writer_(loop, config_.redis,
              {[this] { look(); }, [this](proto::Error e) { on_lost(std::move(e)); }}),
      reader_(loop, config_.redis,
              {[this] { on_reader_open(); }, [this](proto::Error e) { on_lost(std::move(e)); }}),
      waits_synced_(make_durable(proto::Durability::kSynced)),
      waits_replicated_(make_durable(proto::Durability::kReplicated)),
      reads_(
          reader_, [this](StoreEvent event) { events_.push_back(std::move(event)); },
          [this](proto::Error e) { on_lost(std::move(e)); }) {}

RedisStore::~RedisStore() {
  for (auto timer : {retry_timer_, poll_timer_, close_timer_}) {
    if (timer != 0) loop_.cancel(timer);
  }
}

void RedisStore::start(proto::Now) {
  FLAME_ASSERT(phase_ == Phase::kIdle);
  phase_ = Phase::kConnecting;
  connect();
}

std::vector<StoreEvent> RedisStore::poll(proto::Now) { return std::exchange(events_, {}); }

void RedisStore::read(StoreRead read, proto::Now) { reads_.ask(std::move(read)); }

StoreFigures RedisStore::figures() const {
  StoreFigures figures = figures_;
  figures.used_memory = facts_.used_memory;
  figures.maxmemory = facts_.maxmemory;
  if (ring_) {
    figures.ring_used = ring_->ring().used_bytes();
    figures.ring_capacity = ring_->ring().capacity();
  }
  return figures;
}

// ---- connecting
// -----------------------------------------------------------------------------------------

bool RedisStore::open_ring() {
  if (ring_ || config_.ring_bytes == 0) return true;
  auto path = RingFile::path_of(config_.ring_folder, config_.cluster, config_.data_folder);
  auto opened = RingFile::open(path, config_.ring_bytes);
  if (!opened) {
    report({opened.error(), true});
    return false;
  }
  ring_ = std::move(*opened);
  RingState state = ring_->ring().state();
  if (ring_->ring().torn()) {
    runtime::log::warn("the last record of the ring is torn; it was never sent", {{"path", path}});
  }
  if (state.found) {
    runtime::log::info("found a ring",
                       {{"path", path}, {"first", state.first}, {"last", state.last}});
  }
  return true;
}

void RedisStore::connect() {
  retry_timer_ = 0;
  if (!open_ring()) return retry_later(kFinalRetryUs);
  writer_.open(kConnectTimeoutUs);
}

void RedisStore::retry_later(int64_t wait_us) {
  writer_.close();
  reader_.close();
  pause_durable();
  reads_.pause();
  recovery_.reset();
  found_.reset();
  polling_ = false;
  if (phase_ != Phase::kOver) phase_ = Phase::kConnecting;
  if (in_flight_) in_flight_->sent = false;
  if (retry_timer_ != 0) loop_.cancel(retry_timer_);
  retry_timer_ = loop_.call_at(now_us() + wait_us, [this] { connect(); });
}

// Also called by ourselves where only a fresh connection can tell what is true.
void RedisStore::on_lost(proto::Error error) {
  if (phase_ == Phase::kOver) return;
  bool final = error.code == proto::Code::kStoreRefused;
  if (!trouble_) runtime::log::warn("the store is away", {{"reason", error.message}});
  figures_.reconnects++;
  report({std::move(error), final});
  retry_later(connect_backoff_.next_us());
}

// ---- looking
// --------------------------------------------------------------------------------------------

void RedisStore::look() {
  phase_ = Phase::kLooking;
  RedisRequest request;
  request.add({"INFO"});
  request.add({"CONFIG", "GET", "appendfsync"});
  request.add({"CONFIG", "GET", "no-appendfsync-on-rewrite"});
  writer_.send(std::move(request), config_.reply_timeout_us,
               [this](RedisReplies&& replies) { on_facts(std::move(replies)); });
}

void RedisStore::on_facts(RedisReplies&& replies) {
  if (replies[0].is_error()) {
    report(explain(replies[0].text, place()));
    return retry_later(connect_backoff_.next_us());
  }
  facts_ = {};
  take_info(facts_, replies[0].text);
  take_config(facts_,
              replies[1]);  // refused without the right: then nothing is known, the safe side
  take_config(facts_, replies[2]);
  // Switched on, it holds nothing until a first rewrite has ended, and INFO calls it enabled.
  if (!facts_.aof) file_incomplete_ = true;
  if (facts_.aof && !facts_.rewriting) file_incomplete_ = false;
  if (auto refusal = check_facts(facts_, config_.allow_volatile, place())) {
    report(*refusal);
    return retry_later(refusal->final ? kFinalRetryUs : connect_backoff_.next_us());
  }
  if (facts_.aof && file_incomplete_) {
    report({{proto::Code::kStoreDown,
             "Redis at " + place() +
                 " writes its append-only file for the first time; until that has ended nothing is "
                 "safe, then it goes on by itself"},
            false});
    return retry_later(connect_backoff_.next_us());
  }
  look_at_meta();
}

void RedisStore::look_at_meta() {
  phase_ = Phase::kLooking;
  RedisRequest request;
  request.add({"WATCH", proto::kMetaKey});
  request.add({"HGETALL", proto::kMetaKey});
  writer_.send(std::move(request), config_.reply_timeout_us,
               [this](RedisReplies&& replies) { on_meta(std::move(replies)); });
}

void RedisStore::on_meta(RedisReplies&& replies) {
  for (const auto& reply : replies) {
    if (!reply.is_error()) continue;
    report(explain(reply.text, place()));
    return retry_later(connect_backoff_.next_us());
  }
  MetaFields fields;
  for (size_t i = 0; i + 1 < replies[1].items.size(); i += 2) {
    fields.emplace_back(replies[1].items[i].text, replies[1].items[i + 1].text);
  }
  auto meta = Meta::from(fields);
  if (!meta) {
    report({meta.error(), true});
    return retry_later(kFinalRetryUs);
  }
  bool left_changed = !meta->restore.empty() && meta->run_id == facts_.run_id && facts_.synced();
  left_changed ? restore_fsync(*meta) : decide(*meta);
}

// A broker was killed while it synced its epoch: nobody else would ever set it back.
void RedisStore::restore_fsync(const Meta& meta) {
  runtime::log::warn("appendfsync was left changed by a broker that was killed; it is set back",
                     {{"to", meta.restore}});
  facts_.appendfsync = meta.restore;
  writer_.send(RedisRequest({"CONFIG", "SET", "appendfsync", meta.restore}),
               config_.reply_timeout_us, [this, meta](RedisReplies&&) { decide(meta); });
}

void RedisStore::decide(const Meta& meta) {
  RingState ring = ring_ ? ring_->ring().state() : RingState{};
  if (accepting_ && meta.epoch.number <= meta_.epoch.number) return claim_accept(meta);
  if (owner_) {
    uint64_t in_flight = in_flight_ ? in_flight_->number : 0;
    decision_ =
        decide_again(meta, ring, {meta_.epoch, meta_.lineage, confirmed_, in_flight, meta_.lost});
  } else {
    decision_ = decide_start(meta, ring, {facts_.run_id, facts_.uptime_us}, config_.cluster,
                             config_.takeover_grace_us,
                             ring_ ? ring_->path() : std::string("(--ring-size 0)"));
  }
  switch (decision_.finding) {
    case Finding::kFenced:
      return fence(decision_.reason);
    case Finding::kRefuse:
      report({decision_.error, true});
      return retry_later(kFinalRetryUs);
    case Finding::kWait:
      report({{proto::Code::kRecovering, decision_.reason}, false});
      return retry_later(std::min(decision_.wait_us, proto::kUsPerSecond));
    default:
      return owner_ ? claim_again(meta, decision_) : claim_first(meta, decision_);
  }
}

// ---- saying how it is
// -----------------------------------------------------------------------------------

void RedisStore::report(const Refusal& refusal) {
  trouble_ = refusal;
  update_health();
}

void RedisStore::update_health() {
  StoreHealth health;
  health.abilities = facts_.abilities();
  health.writable = !trouble_ && phase_ == Phase::kReady;
  health.full = trouble_ && trouble_->full && phase_ == Phase::kReady && facts_.writes_when_full();
  health.busy = facts_.memory_near_limit() || ring_full_;
  if (trouble_) {
    health.error = trouble_->error;
    health.final = trouble_->final;
  } else if (ring_full_) {
    health.error = {
        proto::Code::kBusy,
        "the ring is full: the disk of Redis does not keep up, or --ring-size is small"};
  } else if (health.busy) {
    health.error = {proto::Code::kBusy, "Redis uses more than " +
                                            std::to_string(proto::kBusyMemoryPercent) +
                                            " % of its maxmemory; raise it or delete sessions"};
  }
  report_health(std::move(health));
}

void RedisStore::report_health(StoreHealth health) {
  bool same = said_ && said_->writable == health.writable && said_->busy == health.busy &&
              said_->full == health.full && said_->final == health.final &&
              said_->error == health.error && said_->abilities == health.abilities;
  if (same) return;
  said_ = health;
  events_.push_back(std::move(health));
}

void RedisStore::fence(const std::string& reason) {
  phase_ = Phase::kOver;
  writer_.close();
  reader_.close();
  pause_durable();
  reads_.pause();
  runtime::log::error("fenced", {{"reason", reason}});
  events_.push_back(Fenced{reason});
}

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/store/memory_store.hpp"

#include <algorithm>

#include "broker/store/memory_read.hpp"
#include "proto/keys.hpp"
#include "runtime/assert.hpp"

namespace flame::broker {

namespace {
constexpr int64_t kRetryUs = 50'000;
// As RedisStore: one that has nothing to write learns here that it was replaced.
constexpr int64_t kOwnerLookUs = proto::kUsPerSecond;
// `everysec`, and a WAIT that is not answered in time.
constexpr int64_t kFsyncUs = 700'000;
constexpr int64_t kWaitUs = 2 * proto::kUsPerSecond;
constexpr auto kLevels = {proto::Durability::kSynced, proto::Durability::kReplicated};

std::string draw_secret(MemoryRedis& redis) {
  std::string hex;
  for (int i = 0; i < 32; i++) hex += "0123456789abcdef"[redis.random() % 16];
  return hex;
}
}  // namespace

MemoryStore::MemoryStore(MemoryRedis& redis, std::shared_ptr<MemoryRing> ring,
                         MemoryStoreConfig config)
    : redis_(redis), ring_(std::move(ring)), config_(std::move(config)) {}

void MemoryStore::start(proto::Now now) {
  FLAME_ASSERT(phase_ == Phase::kIdle);
  phase_ = Phase::kStarting;
  connection_ = redis_.connections();
  due_us_ = now.mono_us + redis_.delay_us();
}

void MemoryStore::write(Batch batch, proto::Now now) {
  queue_.push_back(std::move(batch));
  send_next(now);
}

void MemoryStore::read(StoreRead read, proto::Now now) {
  reads_.push_back({std::move(read), now.mono_us + redis_.delay_us()});
}

void MemoryStore::close(proto::Now) { closing_ = true; }

std::vector<StoreEvent> MemoryStore::poll(proto::Now now) {
  redis_.advance(now.mono_us);
  step(now);
  return std::exchange(events_, {});
}

int64_t MemoryStore::next_us() const {
  if (!events_.empty()) return 0;
  int64_t next = INT64_MAX;
  bool looks = phase_ == Phase::kStarting || phase_ == Phase::kDown;
  if (looks && !redis_.down()) next = due_us_;
  if (in_flight_ && phase_ == Phase::kReady) next = std::min(next, in_flight_->due_us);
  if (serves()) next = std::min(next, owner_due_us_);
  if (serves() && !reads_.empty()) next = std::min(next, reads_.front().due_us);
  for (const auto* wait : {&synced_, &replicated_}) {
    if (wait->round != 0 && phase_ == Phase::kReady) next = std::min(next, wait->due_us);
  }
  return next;
}

void MemoryStore::step(proto::Now now) {
  if (phase_ == Phase::kIdle || phase_ == Phase::kOver) return;
  if (connection_ != redis_.connections() || redis_.down()) {
    if (serves()) lose_connection(now);
    if (redis_.down()) {
      due_us_ = now.mono_us;
      return;
    }
    connection_ = redis_.connections();
  }
  if (phase_ == Phase::kStarting && due_us_ <= now.mono_us) look(now);
  if (phase_ == Phase::kDown && due_us_ <= now.mono_us) look_again(now);
  if (phase_ == Phase::kReady && in_flight_ && in_flight_->due_us <= now.mono_us) take_answer(now);
  if (serves()) look_for_another_owner(now);
  if (serves()) answer_reads(now);
  for (auto level : kLevels) answer_wait(level, now);
  if (closing_ && phase_ == Phase::kReady && !in_flight_ && queue_.empty()) finish_close();
}

// ---- start and reconnect
// --------------------------------------------------------------------------------

void MemoryStore::look(proto::Now now) {
  Meta before = redis_.meta();
  RingState ring = ring_ ? ring_->state : RingState{};
  Decision decision = decide_start(before, ring, {redis_.run_id(), INT64_MAX}, config_.cluster,
                                   config_.takeover_grace_us, "in memory");
  if (decision.finding == Finding::kRefuse) {
    events_.push_back(StoreHealth{.final = true, .error = decision.error});
    phase_ = Phase::kOver;
    return;
  }
  own(before, decision, now);
}

void MemoryStore::own(const Meta& before, const Decision& decision, proto::Now now) {
  meta_ = before;
  meta_.exists = true;
  meta_.schema = std::to_string(proto::kSchemaVersion);
  meta_.cluster = config_.cluster;
  // Also above what the ring's owner tried to raise: a forgetful Redis may show less.
  uint64_t raised = std::max(before.epoch.number, ring_ ? ring_->state.epoch.number : 0);
  meta_.epoch = {raised + 1, redis_.random()};
  meta_.run_id = redis_.run_id();
  meta_.fsync = "everysec";
  meta_.clean = false;
  meta_.lost = decision.finding == Finding::kBroken ? decision.reason : "";
  if (!before.exists) {
    meta_.lineage = Epoch{1, redis_.random()}.text();
    meta_.secret = draw_secret(redis_);
  }
  if (ring_) {
    if (ring_->state.lineage != meta_.lineage || decision.finding == Finding::kFresh) *ring_ = {};
    ring_->state.found = true;
    ring_->state.lineage = meta_.lineage;
    ring_->state.epoch = meta_.epoch;
  }
  if (!redis_.claim(before, meta_)) {
    due_us_ = now.mono_us + redis_.delay_us();
    return;
  }
  redis_.sync();  // nothing is acknowledged before the raised epoch is on disk
  confirmed_ = before.batch;
  bool broken = decision.finding == Finding::kBroken;
  if (!broken && !replay(decision.replay_from)) {
    due_us_ = now.mono_us + kRetryUs;
    return;
  }
  phase_ = broken ? Phase::kBroken : Phase::kReady;
  if (ring_ && ring_->batches.empty() && !broken)
    ring_->state.first = confirmed_ + 1, ring_->state.last = confirmed_;
  emit_recovered(decision.reason);
  send_next(now);
}

void MemoryStore::look_again(proto::Now now) {
  Meta before = redis_.meta();
  RingState ring = ring_ ? ring_->state : RingState{};
  uint64_t in_flight = in_flight_ ? in_flight_->batch.number : 0;
  Decision decision =
      decide_again(before, ring, {meta_.epoch, meta_.lineage, confirmed_, in_flight, meta_.lost});
  if (decision.finding == Finding::kFenced) return fence(decision.reason);
  Meta after = meta_;
  after.batch = before.batch;
  after.run_id = redis_.run_id();
  if (decision.finding == Finding::kBroken) after.lost = decision.reason;
  if (!redis_.claim(before, after)) return;
  meta_ = after;
  if (decision.finding == Finding::kBroken) return end_lineage(decision.reason);
  if (!replay(decision.replay_from)) {
    due_us_ = now.mono_us + kRetryUs;
    return;
  }
  phase_ = Phase::kReady;
  healthy_ = true;
  say_health(true);
  for (auto level : kLevels) await_more(level, now);
  uint64_t stored = redis_.meta().batch;
  if (in_flight_ && stored >= in_flight_->batch.number) {
    confirm(in_flight_->batch.number);
    in_flight_.reset();
  } else if (in_flight_) {
    in_flight_->ticket = 0;
    in_flight_->due_us = now.mono_us;
  }
  send_next(now);
}

void MemoryStore::look_for_another_owner(proto::Now now) {
  if (now.mono_us < owner_due_us_) return;
  owner_due_us_ = now.mono_us + kOwnerLookUs;
  if (!(redis_.meta().epoch == meta_.epoch)) lose_connection(now);  // a look says what happened
}

// False: Redis refuses to write now, as it would refuse any other batch.
bool MemoryStore::replay(uint64_t from) {
  if (!ring_) return true;
  for (const auto& batch : ring_->batches) {
    if (batch.number < from) continue;
    if (redis_.submit_now(meta_.epoch, batch).outcome == MemoryRedis::Outcome::kRefused)
      return false;
    confirmed_ = std::max(confirmed_, batch.number);
  }
  return true;
}

void MemoryStore::emit_recovered(const std::string& broken_reason) {
  Recovered recovered = recover(redis_.keys());
  recovered.lineage_broken = !broken_reason.empty();
  recovered.reason = broken_reason;
  recovered.abilities = abilities();
  healthy_ = !recovered.lineage_broken;
  events_.push_back(std::move(recovered));
  if (healthy_) say_health(true);
}

StoreAbilities MemoryStore::abilities() const { return {false, false, true, redis_.replicas()}; }

void MemoryStore::say_health(bool writable, proto::Error error, bool full) {
  events_.push_back(StoreHealth{
      .writable = writable, .full = full, .error = std::move(error), .abilities = abilities()});
}

void MemoryStore::lose_connection(proto::Now now) {
  phase_ = Phase::kDown;
  due_us_ = now.mono_us + redis_.delay_us();
  if (in_flight_ && in_flight_->ticket != 0) {
    redis_.forget_answer(in_flight_->ticket);
    in_flight_->ticket = 0;
  }
  healthy_ = false;
  for (auto level : kLevels) wait_of(level).reached = wait_of(level).round = 0;
  say_health(false, {proto::Code::kStoreDown, "Redis does not answer; it is tried again"});
}

void MemoryStore::fence(const std::string& reason) {
  phase_ = Phase::kOver;
  events_.push_back(Fenced{reason});
}

void MemoryStore::end_lineage(const std::string& reason) {
  phase_ = Phase::kBroken;
  events_.push_back(LineageBroken{reason});
}

void MemoryStore::accept_loss(proto::Now now) {
  if (phase_ != Phase::kBroken) return;
  Meta before = redis_.meta();
  meta_.batch = before.batch;
  meta_.lineage = Epoch{meta_.epoch.number, redis_.random()}.text();
  meta_.secret = draw_secret(redis_);
  meta_.lost.clear();
  if (!redis_.claim(before, meta_)) return fence("flame:meta was changed by somebody else");
  confirmed_ = before.batch;
  synced_ = replicated_ = {};
  room_to_ = 0;
  in_flight_.reset();
  queue_.clear();
  if (ring_) *ring_ = {{true, meta_.epoch, meta_.lineage, confirmed_ + 1, confirmed_}, {}};
  phase_ = Phase::kReady;
  events_.push_back(LineageAccepted{});
  emit_recovered("");
  send_next(now);
}

void MemoryStore::make_room(uint64_t number, proto::Now now) {
  room_to_ = std::max(room_to_, number);
  if (!in_flight_ || in_flight_->ticket != 0) return;
  in_flight_->due_us = now.mono_us;
  send_next(now);
}

void MemoryStore::finish_close() {
  Meta before = redis_.meta();
  Meta after = meta_;
  after.batch = before.batch;
  after.clean = true;
  phase_ = Phase::kOver;
  if (!(before.epoch == meta_.epoch) || !redis_.claim(before, after))
    return fence("flame:meta was changed by somebody else");
  redis_.sync();
  if (ring_) *ring_ = {};
  events_.push_back(StoreClosed{});
}

// ---- batches
// --------------------------------------------------------------------------------------------

// The ring keeps what restart() could still lose.
void MemoryStore::remember(const Batch& batch) {
  if (!ring_ || batch.number <= ring_->state.last) return;
  ring_->batches.push_back(batch);
  ring_->state.last = batch.number;
  while (!ring_->batches.empty() &&
         ring_->batches.front().number <= std::min(redis_.on_disk(), confirmed_)) {
    ring_->batches.pop_front();
  }
  ring_->state.first = ring_->batches.empty() ? batch.number + 1 : ring_->batches.front().number;
}

void MemoryStore::send_next(proto::Now now) {
  if (phase_ != Phase::kReady) return;
  if (!in_flight_ && !queue_.empty()) {
    in_flight_ = InFlight{std::move(queue_.front())};
    queue_.pop_front();
    remember(in_flight_->batch);
    in_flight_->due_us = now.mono_us;
  }
  if (!in_flight_ || in_flight_->ticket != 0 || in_flight_->due_us > now.mono_us) return;
  bool overfills = in_flight_->batch.number <= room_to_;
  in_flight_->ticket = redis_.submit(meta_.epoch, in_flight_->batch, now.mono_us, overfills);
  in_flight_->due_us = now.mono_us + redis_.delay_us();
  redis_.advance(now.mono_us);
}

void MemoryStore::take_answer(proto::Now now) {
  if (in_flight_->ticket == 0) return send_next(now);
  MemoryRedis::Answer answer = redis_.answer(in_flight_->ticket);
  if (answer.outcome == MemoryRedis::Outcome::kWaiting) return;
  redis_.forget_answer(in_flight_->ticket);
  in_flight_->ticket = 0;
  if (answer.outcome == MemoryRedis::Outcome::kRefused) {
    in_flight_->due_us = now.mono_us + kRetryUs;
    if (healthy_) say_health(false, answer.error, answer.full);
    healthy_ = false;
    return;
  }
  if (answer.outcome != MemoryRedis::Outcome::kApplied) {
    lose_connection(now);  // a look says whether we are fenced or it forgot
    return;
  }
  for (auto& [session, reason] : answer.refused) events_.push_back(SessionRefused{session, reason});
  confirm(in_flight_->batch.number);
  in_flight_.reset();
  send_next(now);
}

void MemoryStore::confirm(uint64_t number) {
  confirmed_ = std::max(confirmed_, number);
  if (!healthy_) say_health(true);
  healthy_ = true;
  events_.push_back(BatchStored{number});
}

// ---- levels above `stored`
// ------------------------------------------------------------------------------

void MemoryStore::await(AwaitDurable wanted, proto::Now now) {
  DurableWait& wait = wait_of(wanted.level);
  wait.wanted = std::max(wait.wanted, wanted.batch);
  if (wanted.batch > wait.reached) return await_more(wanted.level, now);
  events_.push_back(Durable{wanted.level, wait.reached});
}

void MemoryStore::await_more(proto::Durability level, proto::Now now) {
  DurableWait& wait = wait_of(level);
  if (phase_ != Phase::kReady || wait.round != 0 || wait.wanted <= wait.reached) return;
  wait.round = wait.wanted;
  bool on_disk = level == proto::Durability::kSynced;
  wait.due_us = now.mono_us + redis_.delay_us() + (on_disk ? kFsyncUs : 0);
}

// The fsync or the replica has what Redis has now, so also what was asked about: this Redis is
// still the one that confirmed it, or step() had noticed.
void MemoryStore::answer_wait(proto::Durability level, proto::Now now) {
  DurableWait& wait = wait_of(level);
  if (phase_ != Phase::kReady || wait.round == 0 || wait.due_us > now.mono_us) return;
  if (level == proto::Durability::kSynced) {
    redis_.sync();
  } else if (!redis_.replicate()) {
    wait.due_us = now.mono_us + kWaitUs;
    events_.push_back(DurableLate{level, "0 of 1 replicas have confirmed"});
    return;
  }
  wait.reached = std::max(wait.reached, std::exchange(wait.round, 0));
  events_.push_back(Durable{level, wait.reached});
  await_more(level, now);
}

// ---- reads
// ----------------------------------------------------------------------------------------------

void MemoryStore::answer_reads(proto::Now now) {
  while (!reads_.empty() && reads_.front().due_us <= now.mono_us) {
    events_.push_back(
        std::visit([this](const auto& read) { return answer_read(redis_.keys(), read); },
                   reads_.front().read));
    reads_.pop_front();
  }
}

}  // namespace flame::broker

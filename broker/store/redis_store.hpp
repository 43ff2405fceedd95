// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The store on a real Redis: a citizen of the loop with two connections, one for batches and one
// for questions, so that a large answer never delays a batch; and one more for each level above
// `stored` that a session waits for.
//
//   connect -> look (INFO, CONFIG, flame:meta) -> decide -> claim (raise the epoch, fenced) ->
//   replay what Redis lacks from the ring -> [first time: epoch on disk, read the state] -> ready
//
// Everything odd on the way (a lost connection, a time-out, a nil EXEC) leads back to the look.
// What Redis refuses for a reason that ends (full, read-only ...) is kept and tried again. Full, it
// still gets what was confirmed before and what gives memory back (make_room), as a script that may
// run all the same: the same commands and number, and a fence of its own.

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/store/batch.hpp"
#include "broker/store/fsync_watch.hpp"
#include "broker/store/lineage.hpp"
#include "broker/store/redis_durable.hpp"
#include "broker/store/redis_facts.hpp"
#include "broker/store/redis_reads.hpp"
#include "broker/store/redis_recovery.hpp"
#include "broker/store/ring_file.hpp"
#include "broker/store/store.hpp"
#include "proto/limits.hpp"
#include "runtime/backoff.hpp"
#include "runtime/event_loop.hpp"
#include "runtime/redis_connection.hpp"

namespace flame::broker {

struct RedisStoreConfig {
  runtime::RedisAddress redis;
  std::string cluster = "flame";
  std::string owner;  ///< this broker in words, for flame:owner and flame:meta; "" writes none
  std::string ring_folder = "/dev/shm";
  std::string data_folder;                  ///< only names the ring
  uint64_t ring_bytes = proto::kRingBytes;  ///< 0: no ring
  bool allow_volatile = false;
  uint64_t replicas = 1;  ///< how many must have what is `replicated`
  int64_t takeover_grace_us = static_cast<int64_t>(proto::kTakeoverGraceMs) * proto::kUsPerMs;
  int64_t reply_timeout_us = 10 * proto::kUsPerSecond;
};

/// For metrics and status; from the last poll of Redis, about a second old.
struct StoreFigures {
  uint64_t used_memory = 0;
  uint64_t maxmemory = 0;
  uint64_t ring_used = 0;
  uint64_t ring_capacity = 0;
  uint64_t batches = 0;
  uint64_t batch_bytes = 0;
  uint64_t replayed = 0;
  uint64_t reconnects = 0;
};

class RedisStore : public Store {
 public:
  RedisStore(runtime::EventLoop& loop, RedisStoreConfig config);
  ~RedisStore() override;

  /// Before start().
  void set_owner(std::string words) { config_.owner = std::move(words); }
  void start(proto::Now now) override;
  void write(Batch batch, proto::Now now) override;
  void read(StoreRead read, proto::Now now) override;
  void await(AwaitDurable wanted, proto::Now now) override;
  void accept_loss(proto::Now now) override;
  void make_room(uint64_t number, proto::Now now) override;
  void close(proto::Now now) override;
  std::vector<StoreEvent> poll(proto::Now now) override;

  StoreFigures figures() const;
  std::string ring_path() const { return ring_ ? ring_->path() : ""; }

 private:
  enum class Phase : uint8_t {
    kIdle,
    kConnecting,  ///< also: waiting before the next try
    kLooking,
    kClaiming,
    kReplaying,
    kRecovering,  ///< first time only
    kReady,
    kBroken,  ///< reads only, until accept_loss()
    kClosing,
    kOver,
  };
  /// A batch on its way or to be sent again. Its bytes lie in the ring or, without one, in
  /// scratch_.
  struct InFlight {
    uint64_t number = 0;
    std::string_view bytes;
    size_t replies = 0;
    bool sent = false;
    bool overfills = false;  ///< as it was sent last
  };
  using Then = void (RedisStore::*)();

  // connect and look (redis_store.cpp)
  bool open_ring();
  void connect();
  void retry_later(int64_t wait_us);
  void on_lost(proto::Error error);
  void look();
  void on_facts(runtime::RedisReplies&& replies);
  void look_at_meta();
  void on_meta(runtime::RedisReplies&& replies);
  void restore_fsync(const Meta& meta);
  void decide(const Meta& meta);
  void report(const Refusal& refusal);
  void report_health(StoreHealth health);
  void update_health();
  void fence(const std::string& reason);

  // claim, replay, recover (redis_claim.cpp)
  void claim_first(const Meta& meta, const Decision& decision);
  void claim_again(const Meta& meta, const Decision& decision);
  void claim(const Meta& before, Then then);
  bool overfills() const;
  void after_first_claim();
  void after_next_claim();
  /// `forgotten`: how many of them Redis had answered before.
  void say_replay(uint64_t forgotten);
  void replay();
  void on_replayed(runtime::RedisReplies&& replies);
  void after_replay();
  void sync_epoch(Then then);
  void sync_by_config(Then then);
  void sync_back(Then then, bool synced);
  void sync_by_looks(Then then, const std::shared_ptr<FsyncWatch>& watch);
  void recover();
  void on_recovered(proto::Result<RedisRecovery::Found> found);
  void finish_recovery();
  void after_next_sync();
  void claim_accept(const Meta& meta);
  void after_accept();
  void after_clean_mark();
  void start_close();
  void finish_close();
  void close_timed_out();

  // batches (redis_batches.cpp)
  void pump();
  bool encode(const Batch& batch);
  void send_in_flight();
  void overfill_in_flight();
  void send_overfilling(std::string_view bytes, const std::string& epoch, uint64_t batch,
                        runtime::RedisConnection::OnReplies done);
  void on_batch(runtime::RedisReplies&& replies);
  void note_refused_sessions(const runtime::RedisReply& exec, std::string_view bytes);
  void say_refused(SessionRefused refused);
  void refused(std::string_view error_text);
  void confirm(uint64_t number);
  void note_writable();
  bool fence_holds(const runtime::RedisReply& fence, uint64_t number) const;

  // the second connection and the poll of Redis (redis_batches.cpp)
  void open_reader();
  void on_reader_open();
  void schedule_poll();
  void poll_redis();
  void on_poll(runtime::RedisReplies&& replies, int64_t asked_us, uint64_t confirmed, bool whole);
  void free_ring(uint64_t number);

  // levels above `stored` (redis_batches.cpp)
  void await_synced();
  void resume_durable();
  void pause_durable();
  void on_durable(proto::Durability level, uint64_t batch);
  RedisDurable make_durable(proto::Durability level);

  int64_t now_us() const { return loop_.now().mono_us; }
  std::string place() const { return config_.redis.shown(); }

  runtime::EventLoop& loop_;
  RedisStoreConfig config_;
  runtime::RedisConnection writer_;
  runtime::RedisConnection reader_;
  RedisDurable waits_synced_;
  RedisDurable waits_replicated_;
  uint64_t synced_wanted_ = 0;
  RedisReads reads_;
  std::unique_ptr<RedisRecovery> recovery_;
  std::unique_ptr<RingFile> ring_;
  BatchEncoder encoder_;
  std::string scratch_;
  std::string overfilling_;  ///< what is on its way as a script
  uint64_t room_to_ = 0;     ///< make_room() named batches up to this one

  Phase phase_ = Phase::kIdle;
  bool owner_ = false;  ///< Recovered was said: from now on decide_again
  bool closing_ = false;
  bool accepting_ = false;
  std::string new_lineage_;
  RedisFacts facts_;
  Meta meta_;  ///< as this broker wrote it last; its batch is not kept
  Decision decision_;
  bool epoch_raised_ = false;
  bool epoch_on_disk_ = false;
  std::optional<RedisRecovery::Found> found_;
  std::vector<SessionRefused> early_refused_;
  uint64_t confirmed_ = 0;
  uint64_t replaying_ = 0;  ///< number on its way

  std::optional<InFlight> in_flight_;
  std::deque<Batch> queue_;
  bool ring_full_ = false;
  FsyncWatch fsyncs_;
  bool polling_ = false;
  int64_t whole_poll_us_ = 0;

  runtime::Backoff connect_backoff_{50'000, 1'000'000};
  runtime::Backoff refuse_backoff_{50'000, 1'000'000};
  runtime::EventLoop::TimerId retry_timer_ = 0;
  runtime::EventLoop::TimerId poll_timer_ = 0;
  runtime::EventLoop::TimerId close_timer_ = 0;
  bool file_incomplete_ = false;    ///< it was off, and what Redis has is not all in it yet
  std::optional<Refusal> trouble_;  ///< why nothing can be written now
  std::optional<StoreHealth> said_;
  std::vector<StoreEvent> events_;
  StoreFigures figures_;
};

}  // namespace flame::broker

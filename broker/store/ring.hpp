// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The ring: batches as sent, from before they are sent until they are known to be on disk. Lies in
// memory that outlives SIGKILL (a mapped file) and trusts nothing it finds there.
//
//   offset 0    Header            magic, size, nonce, lineage, crc
//   offset 1024 two Tails         {turn, nonce, freed number, offset of the next record, epoch,
//   crc}: written in
//                                 turns, the newer good one counts
//   offset 4096 records           Record {magic, crc, nonce, number, bytes, replies, kind} + bytes,
//   64-byte aligned,
//                                 one after the other; a record never wraps: a kWrap record sends
//                                 the reader to 4096
//
// Numbers rise by one and the nonce changes with every reset, so what an earlier round left behind
// is not taken for a record. A torn last record fails its checksum and is as if never written: it
// was not sent either.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "broker/store/lineage.hpp"

namespace flame::broker {

struct RingRecord {
  uint64_t number = 0;
  uint64_t replies = 0;
  std::string_view
      bytes;  ///< in the ring; good until freed. Empty: a batch too large for the ring (a hole)
};

class Ring {
 public:
  static constexpr size_t kRecordsAt = 4096;
  static constexpr size_t kBytesMin = 1 << 20;

  /// Reads what is there; anything unreadable counts as a new ring. `memory` outlives the ring,
  /// 64-byte aligned, of at least kBytesMin.
  explicit Ring(std::span<char> memory);

  /// Forgets all records: the next is `next_number`. `nonce` is random.
  void reset(std::string_view lineage, const Epoch& epoch, uint64_t next_number, uint64_t nonce);
  /// Before the epoch is raised in Redis: a Redis that shows this epoch is ours.
  void set_epoch(const Epoch& epoch);

  RingState state() const;
  bool torn() const { return torn_; }
  uint64_t used_bytes() const;
  uint64_t capacity() const { return end_ - kRecordsAt; }

  /// Room for the next record's bytes, or null: full. Write there, then commit().
  char* reserve(size_t bytes_max);
  /// True if no freeing could make reserve(bytes_max) work.
  bool too_large(size_t bytes_max) const;
  struct Range {
    size_t from = 0;
    size_t to = 0;
  };
  /// What must be usable before reserve(bytes_max) is written to; none where it is full.
  std::optional<Range> reach(size_t bytes_max) const;
  /// True if the range may hold what a later process would read: header, records, and the place of
  /// the next one, where it sees that they end.
  bool needs(Range range) const;
  void commit(uint64_t number, size_t bytes, uint64_t replies);
  /// Number `number` is sent without being here: from now on until it is freed nobody can replay.
  bool commit_hole(uint64_t number);

  std::optional<RingRecord> find(uint64_t number) const;
  /// Batches up to `number` are on disk. True if the ring is empty now (and starts at the front
  /// again).
  bool free_to(uint64_t number);

 private:
  struct Header;
  struct Tail;
  struct Record;
  struct Held {
    uint64_t number;
    size_t offset;
    size_t size;  ///< with header, aligned
  };

  std::optional<size_t> place(size_t size) const;
  bool read_header();
  bool read_tail();
  void read_records();
  void write_tail(uint64_t freed, size_t offset);
  Record* record_at(size_t offset) const;

  std::span<char> memory_;
  size_t end_;
  bool found_ = false;
  bool torn_ = false;
  uint64_t turn_ = 0;
  Epoch epoch_;
  uint64_t freed_ = 0;        ///< numbers up to here are on disk
  size_t head_ = kRecordsAt;  ///< where the next record goes
  size_t tail_offset_ = kRecordsAt;
  size_t reserved_ = 0;
  std::vector<Held> held_;  ///< oldest first
  size_t held_from_ = 0;    ///< held_ entries before this one are freed
};

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/store/ring.hpp"

#include <atomic>
#include <cstring>

#include "proto/crc32c.hpp"
#include "runtime/assert.hpp"

namespace flame::broker {

namespace {

constexpr uint64_t kMagic = 0x31474e49524d4c46;  // FLMRING1
constexpr uint32_t kRecordMagic = 0x4345524d;
constexpr size_t kTailAt = 1024;
constexpr size_t kTailBytes = 64;
constexpr size_t kAlign = 64;

enum : uint32_t { kBatch = 1, kWrap = 2, kHole = 3 };

size_t aligned(size_t size) { return (size + kAlign - 1) / kAlign * kAlign; }

// What a signal that kills us between two stores must not see reordered by the compiler. The kernel
// keeps the pages; another CPU is not involved.
void barrier() { std::atomic_signal_fence(std::memory_order_seq_cst); }

}  // namespace

// On disk: do not change, raise the magic instead.
struct Ring::Header {
  uint64_t magic;
  uint64_t size;
  uint64_t nonce;
  uint32_t lineage_size;
  char lineage[64];
  uint32_t crc;

  uint32_t sum() const {
    return proto::crc32c({reinterpret_cast<const char*>(this), offsetof(Header, crc)});
  }
};
struct Ring::Tail {
  uint64_t turn;
  uint64_t nonce;
  uint64_t freed;
  uint64_t offset;
  uint64_t epoch_number, epoch_random;
  uint32_t crc;

  uint32_t sum() const {
    return proto::crc32c({reinterpret_cast<const char*>(this), offsetof(Tail, crc)});
  }
};
struct Ring::Record {
  uint32_t magic;
  uint32_t crc;  ///< over what follows and the bytes
  uint64_t nonce;
  uint64_t number;
  uint64_t bytes;
  uint64_t replies;
  uint32_t kind;
  uint32_t unused[5];

  char* data() { return reinterpret_cast<char*>(this + 1); }
  uint32_t sum() {
    constexpr size_t kFrom = offsetof(Record, nonce);
    auto head =
        proto::crc32c({reinterpret_cast<const char*>(this) + kFrom, sizeof(Record) - kFrom});
    return proto::crc32c({data(), bytes}, head);
  }
};

Ring::Ring(std::span<char> memory) : memory_(memory), end_(memory.size() / kAlign * kAlign) {
  static_assert(sizeof(Record) == kAlign && sizeof(Tail) <= kTailBytes &&
                sizeof(Header) <= kTailAt);
  FLAME_ASSERT(memory.size() >= kBytesMin &&
               reinterpret_cast<uintptr_t>(memory.data()) % kAlign == 0);
  found_ = read_header() && read_tail();
  if (found_) read_records();
}

Ring::Record* Ring::record_at(size_t offset) const {
  return reinterpret_cast<Record*>(memory_.data() + offset);
}

// ---- reading what an earlier process left
// ---------------------------------------------------------------

bool Ring::read_header() {
  Header header;
  std::memcpy(&header, memory_.data(), sizeof header);
  return header.magic == kMagic && header.size == end_ &&
         header.lineage_size <= sizeof header.lineage && header.crc == header.sum();
}

bool Ring::read_tail() {
  auto header = reinterpret_cast<const Header*>(memory_.data());
  bool any = false;
  for (size_t i = 0; i < 2; i++) {
    Tail tail;
    std::memcpy(&tail, memory_.data() + kTailAt + i * kTailBytes, sizeof tail);
    if (tail.crc != tail.sum() || tail.nonce != header->nonce || tail.turn < turn_) continue;
    if (tail.offset < kRecordsAt || tail.offset + sizeof(Record) > end_ ||
        tail.offset % kAlign != 0)
      continue;
    turn_ = tail.turn;
    freed_ = tail.freed;
    head_ = tail_offset_ = tail.offset;
    epoch_ = {tail.epoch_number, tail.epoch_random};
    any = true;
  }
  return any;
}

void Ring::read_records() {
  auto header = reinterpret_cast<const Header*>(memory_.data());
  size_t start = head_;
  bool wrapped = false;
  for (uint64_t number = freed_ + 1;;) {
    if (head_ + sizeof(Record) > end_) return;
    Record* record = record_at(head_);
    if (record->magic != kRecordMagic || record->nonce != header->nonce || record->number != number)
      return;
    if (record->kind == kWrap && !wrapped && record->bytes == 0 && record->crc == record->sum()) {
      wrapped = true;
      head_ = kRecordsAt;
      continue;
    }
    size_t room = (wrapped ? start : end_) - head_ - sizeof(Record);
    bool fits = wrapped && head_ + sizeof(Record) > start ? false : record->bytes <= room;
    if (!fits || record->crc != record->sum() ||
        (record->kind != kBatch && record->kind != kHole)) {
      torn_ = true;
      return;
    }
    size_t size = aligned(sizeof(Record) + record->bytes);
    held_.push_back({number, head_, size});
    head_ += size;
    number++;
  }
}

// ---- owning
// ---------------------------------------------------------------------------------------------

void Ring::reset(std::string_view lineage, const Epoch& epoch, uint64_t next_number,
                 uint64_t nonce) {
  FLAME_ASSERT(lineage.size() <= sizeof(Header::lineage) && next_number > 0);
  Header header{};
  header.magic = kMagic;
  header.size = end_;
  header.nonce = nonce;
  header.lineage_size = static_cast<uint32_t>(lineage.size());
  std::memcpy(header.lineage, lineage.data(), lineage.size());
  header.crc = header.sum();
  std::memcpy(memory_.data(), &header, sizeof header);
  barrier();
  held_.clear();
  held_from_ = 0;
  torn_ = false;
  found_ = true;
  epoch_ = epoch;
  write_tail(next_number - 1, kRecordsAt);
  head_ = kRecordsAt;
}

void Ring::set_epoch(const Epoch& epoch) {
  epoch_ = epoch;
  write_tail(freed_, tail_offset_);
}

RingState Ring::state() const {
  if (!found_) return {};
  auto header = reinterpret_cast<const Header*>(memory_.data());
  RingState state;
  state.found = true;
  state.epoch = epoch_;
  state.lineage.assign(header->lineage, header->lineage_size);
  state.last = held_from_ < held_.size() ? held_.back().number : freed_;
  state.first = freed_ + 1;
  // What lies before a hole cannot be replayed up to the end.
  for (size_t i = held_from_; i < held_.size(); i++) {
    if (record_at(held_[i].offset)->kind == kHole) state.first = held_[i].number + 1;
  }
  return state;
}

void Ring::write_tail(uint64_t freed, size_t offset) {
  Tail tail{};
  tail.turn = ++turn_;
  tail.nonce = reinterpret_cast<const Header*>(memory_.data())->nonce;
  tail.freed = freed_ = freed;
  tail.offset = tail_offset_ = offset;
  tail.epoch_number = epoch_.number;
  tail.epoch_random = epoch_.random;
  tail.crc = tail.sum();
  std::memcpy(memory_.data() + kTailAt + (turn_ % 2) * kTailBytes, &tail, sizeof tail);
  barrier();
}

// ---- records
// --------------------------------------------------------------------------------------------

// Room is kept behind every record for a kWrap record, and one between head and the oldest.
std::optional<size_t> Ring::place(size_t size) const {
  size_t oldest = held_from_ < held_.size() ? held_[held_from_].offset : 0;
  if (oldest == 0 || oldest < head_) {
    if (head_ + size + sizeof(Record) <= end_) return head_;
    if (oldest != 0 && kRecordsAt + size < oldest) return kRecordsAt;
    return std::nullopt;
  }
  if (head_ + size < oldest) return head_;
  return std::nullopt;
}

bool Ring::too_large(size_t bytes_max) const {
  return kRecordsAt + aligned(sizeof(Record) + bytes_max) + sizeof(Record) > end_;
}

std::optional<Ring::Range> Ring::reach(size_t bytes_max) const {
  size_t size = aligned(sizeof(Record) + bytes_max);
  auto offset = place(size);
  if (!offset) return std::nullopt;
  return Range{*offset, *offset + size + sizeof(Record)};
}

bool Ring::needs(Range range) const {
  auto meets = [&](size_t from, size_t to) { return range.from < to && from < range.to; };
  size_t next = head_ + sizeof(Record);
  if (meets(0, kRecordsAt) || meets(head_, next)) return true;
  if (held_from_ == held_.size()) return false;
  size_t oldest = held_[held_from_].offset;
  return oldest < head_ ? meets(oldest, next) : meets(oldest, end_) || meets(kRecordsAt, next);
}

char* Ring::reserve(size_t bytes_max) {
  auto offset = place(aligned(sizeof(Record) + bytes_max));
  if (!offset) return nullptr;
  reserved_ = *offset;
  return record_at(reserved_)->data();
}

void Ring::commit(uint64_t number, size_t bytes, uint64_t replies) {
  FLAME_ASSERT(reserved_ != 0 && found_);
  FLAME_ASSERT(number == (held_from_ < held_.size() ? held_.back().number : freed_) + 1);
  auto nonce = reinterpret_cast<const Header*>(memory_.data())->nonce;
  auto write = [&](size_t offset, uint64_t size, uint32_t kind) {
    Record* record = record_at(offset);
    record->nonce = nonce;
    record->number = number;
    record->bytes = size;
    record->replies = replies;
    record->kind = kind;
    std::memset(record->unused, 0, sizeof record->unused);
    record->crc = record->sum();
    barrier();
    record->magic = kRecordMagic;
    barrier();
  };
  write(reserved_, bytes, replies == 0 ? kHole : kBatch);
  if (reserved_ != head_) write(head_, 0, kWrap);  // last: before it the reader sees nothing
  size_t size = aligned(sizeof(Record) + bytes);
  held_.push_back({number, reserved_, size});
  head_ = reserved_ + size;
  reserved_ = 0;
}

bool Ring::commit_hole(uint64_t number) {
  if (reserve(0) == nullptr) return false;
  commit(number, 0, 0);
  return true;
}

std::optional<RingRecord> Ring::find(uint64_t number) const {
  if (held_from_ == held_.size() || number <= freed_ || number > held_.back().number)
    return std::nullopt;
  Record* record = record_at(held_[held_from_ + (number - held_[held_from_].number)].offset);
  return RingRecord{number, record->replies, {record->data(), record->bytes}};
}

bool Ring::free_to(uint64_t number) {
  size_t from = held_from_;
  while (held_from_ < held_.size() && held_[held_from_].number <= number) held_from_++;
  if (from == held_from_) return held_from_ == held_.size();
  uint64_t freed = held_[held_from_ - 1].number;
  bool empty = held_from_ == held_.size();
  if (empty) {
    held_.clear();
    held_from_ = 0;
    head_ = kRecordsAt;  // the same pages again and again while little is outstanding
  }
  write_tail(freed, empty ? kRecordsAt : held_[held_from_].offset);
  if (held_from_ > 1024 && held_from_ * 2 > held_.size()) {
    held_.erase(held_.begin(), held_.begin() + static_cast<long>(held_from_));
    held_from_ = 0;
  }
  return empty;
}

uint64_t Ring::used_bytes() const {
  uint64_t used = 0;
  if (held_from_ == held_.size()) return used;
  size_t oldest = held_[held_from_].offset;
  return oldest < head_ ? head_ - oldest : end_ - oldest + head_ - kRecordsAt;
}

}  // namespace flame::broker

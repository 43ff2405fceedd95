// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The tasks of one session as runs: which inputs are stored, which ids wait, in what order. No
// structure per task: 10 million queued tasks in runs of 64 cost about 15 MB here.
//
// Every id below `next` is in exactly one place: waiting here, orphaned here (running somewhere
// when the broker started, not claimed yet), in some executor's hand (broker/core/executor.hpp), or
// finished (nowhere).

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "proto/bytes.hpp"
#include "proto/run.hpp"

namespace flame::broker {

/// One field of flame:{S}:input:K.
struct InputRun {
  proto::TaskId first = 0;
  uint32_t count = 0;
  uint32_t unfinished = 0;
  /// Where the last slice ended: the next one usually begins there, so lengths are walked once.
  uint32_t cut_tasks = 0;
  uint32_t cut_bytes = 0;
  bool keep = false;       ///< a task of it failed: the input stays until retention ends
  bool in_memory = false;  ///< `body` holds the elements; else they are read back before dispatch
  bool reading = false;
  proto::Bytes body;
  // For the stamps of results; 0 where the client did not ask.
  int64_t sent_us = 0;
  int64_t received_us = 0;
  uint64_t batch = 0;

  proto::Run run() const { return {first, count}; }
};

/// Waiting ids that share their number of charged attempts.
struct WaitingRun {
  proto::Run run;
  proto::Attempt charged = 0;
};

class TaskTable {
 public:
  /// Appends a stored input run; its ids follow all earlier ones. Not waiting yet.
  InputRun& add_input(InputRun input);
  /// The input run that holds `id`, or null: finished long ago, or unknown.
  InputRun* input_of(proto::TaskId id);
  /// The stored run with `id`'s input if that is kept though all its tasks have finished.
  std::optional<proto::Run> kept_input_of(proto::TaskId id) const;
  /// All, or those of tasks before `end`: a run lies on one side.
  void forget_kept_inputs() { kept_ = {}; }
  void forget_kept_inputs(proto::TaskId end);
  const std::deque<InputRun>& inputs() const { return inputs_; }
  std::deque<InputRun>& inputs() { return inputs_; }

  /// New ids, behind everything.
  void wait_back(const WaitingRun& waiting);
  /// Ids that come back, before everything; a set of them given in any order ends up in id order.
  void wait_front(const WaitingRun& waiting);
  bool any_waiting() const { return !waiting_.empty(); }
  uint64_t waiting_count() const { return waiting_count_; }
  const WaitingRun& front() const { return waiting_.front(); }
  const std::deque<WaitingRun>& waiting() const { return waiting_; }
  /// Takes `count` ids off the front run.
  void take_front(uint64_t count);
  /// Takes the ids of `runs` (in order, none overlapping) out of the queue, wherever they are;
  /// returns the parts that were waiting.
  std::vector<WaitingRun> take(const std::vector<proto::Run>& runs);
  std::vector<WaitingRun> take(const proto::Run& run) { return take(std::vector{run}); }
  std::vector<WaitingRun> take_all();

  /// Ids whose executor has not claimed them since the broker started.
  std::vector<proto::Run>& orphans() { return orphans_; }
  const std::vector<proto::Run>& orphans() const { return orphans_; }
  /// Takes the parts of `run` out of the orphans.
  std::vector<proto::Run> claim_orphans(const proto::Run& run);

  /// The elements of `slice` (inside one input run that is in memory).
  proto::Bytes elements_of(InputRun& input, const proto::Run& slice);

  /// Marks ids of `run` finished; appends the input runs of which nothing is left to `done` (their
  /// bodies are dropped). `failed`: keep the input.
  void finish(const proto::Run& run, bool failed, std::vector<proto::Run>& done);

  /// Bytes of inputs held in memory.
  uint64_t memory_bytes() const { return memory_bytes_; }
  /// Drops bodies from the back until at most `bytes` are held; the front ones are needed next.
  void shrink_memory(uint64_t bytes);
  void load(InputRun& input, proto::Bytes body);

 private:
  void forget_body(InputRun& input);

  std::deque<InputRun> inputs_;   // by first id; finished ones leave from the front
  std::vector<proto::Run> kept_;  // of those that left, by first id
  std::deque<WaitingRun> waiting_;
  uint64_t waiting_count_ = 0;
  std::vector<proto::Run> orphans_;
  uint64_t memory_bytes_ = 0;
};

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What stands behind flame::Session: hears the connection for one session, gives it runs, and hands
// results to futures and to the stream.

#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "client/cpp/src/connection.hpp"
#include "client/cpp/src/core/acknowledged_runs.hpp"
#include "client/cpp/src/future_table.hpp"
#include "client/cpp/src/result_queue.hpp"
#include "client/cpp/src/submit_queue.hpp"
#include "flame/session.hpp"

namespace flame::detail {

class SessionImpl : public client::SessionListener {
 public:
  std::optional<client::OutgoingRun> next_run() override;
  void on_submitted(uint64_t ticket, const proto::Run& run, proto::Durability) override;
  void on_submit_failed(uint64_t ticket, const proto::Error& error) override;
  bool on_results(proto::Results&& results) override;
  void on_trimmed(uint64_t from, uint64_t to) override;
  void on_watch_failed(const proto::Error& error) override;
  void on_changed(const proto::SessionChanged& change) override;
  void on_progress(const proto::Progress& progress) override;
  void on_lost(const proto::Run& run) override;
  void on_detached() override;

  SubmitQueue& queue() { return queue_; }
  std::vector<TaskRange> flush(std::chrono::milliseconds time);
  std::vector<TaskRange> acknowledged();
  void set_on_progress(std::function<void(const TaskProgress&)> callback) {
    std::lock_guard lock(progress_mutex_);
    on_progress_ = std::move(callback);
  }

  // On the I/O thread.

  /// Results go to the stream too, from its cursor on, as long as somebody holds it.
  void read_into(client::Connection& connection, proto::SessionUid uid,
                 const std::shared_ptr<ResultQueue>& stream, const std::string& reader);
  /// Futures need results: those of tasks submitted from now on are at or behind `index`.
  void need_results(client::Connection& connection, proto::SessionUid uid, uint64_t index,
                    const std::string& reader);

 private:
  std::vector<TaskRange> take_acknowledged();  ///< under the lock
  void answered(uint64_t ticket, const proto::Run& run, const proto::Error* error);
  /// Nothing more is submitted, and futures are failed.
  void end_submits(const proto::Error& error);
  void tell_flush();  ///< under the lock; of the I/O thread

  SubmitQueue queue_;

  // Of the I/O thread.
  FutureTable futures_;
  std::set<uint64_t> plain_;  ///< tickets of runs without futures
  uint64_t tickets_ = 0;      ///< runs taken from the queue: a run's ticket is its place there
  /// The watch that futures need, to ask for it again.
  struct FuturesWatch {
    client::Connection* connection;
    proto::SessionUid uid;
    uint64_t index;
    std::string reader;
  };
  std::optional<FuturesWatch> futures_watch_;
  bool watching_ = false;
  uint64_t next_index_ = 0;  ///< behind the last entry that came
  uint64_t stream_from_ = 0;
  std::weak_ptr<ResultQueue> stream_;

  std::mutex progress_mutex_;
  std::function<void(const TaskProgress&)> on_progress_;

  std::mutex flush_mutex_;
  std::condition_variable flushed_;
  uint64_t oldest_unanswered_ = 1;         ///< ticket of a run, perhaps one that is still to come
  client::AcknowledgedRuns acknowledged_;  ///< without futures
  std::optional<proto::Error> refusal_;    ///< the first of a run without futures
};

}  // namespace flame::detail

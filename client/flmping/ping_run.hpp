// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// One run of flmping: feeds tasks into the session whenever the submit window has room and ticks
// their results off. All of it happens on the connection's I/O thread, so nothing is locked per
// task; the main thread only looks at Progress.

#include <atomic>
#include <functional>
#include <optional>
#include <string>

#include "client/cpp/src/connection.hpp"
#include "client/flmping/settings.hpp"
#include "client/flmping/stages.hpp"
#include "client/flmping/tally.hpp"

namespace flame::ping {

class PingRun : public client::SessionListener {
 public:
  /// `ended` is called on the I/O thread when nothing more will come.
  PingRun(const Settings& settings, std::function<void()> ended);

  std::optional<client::OutgoingRun> next_run() override;
  void on_submit_failed(uint64_t ticket, const proto::Error& error) override;
  bool on_results(proto::Results&& results) override;
  void on_watch_failed(const proto::Error& error) override;
  void on_trimmed(uint64_t from, uint64_t to) override;
  void on_changed(const proto::SessionChanged& change) override;
  void on_lost(const proto::Run& run) override;

  /// Tasks with a result so far. Any thread.
  uint64_t received() const { return received_.load(std::memory_order_relaxed); }

  // After `ended`, or once the connection is gone; these belong to the I/O thread before.
  const Tally& tally() const { return tally_; }
  const Stages& stages() const { return stages_; }
  /// Of tasks one at a time (--latency), else of runs.
  const Latencies& latencies() const {
    return settings_.latency ? round_trips_ : stages_.latencies();
  }
  /// From the first counted submit to the last result.
  int64_t duration_us() const;
  /// What all tasks took by the services' own clocks; 0 without --duration, or if the outputs have
  /// no room for it (--output-size).
  int64_t in_tasks_us() const { return in_tasks_us_; }
  /// Without those of --latency that are not counted.
  uint64_t succeeded() const;
  const std::optional<proto::Error>& error() const { return error_; }

 private:
  bool stamp_wanted() const;
  void end(std::optional<proto::Error> error);

  const Settings& settings_;
  const uint64_t wanted_;     ///< with those of --latency that are not counted
  const uint64_t run_tasks_;  ///< per submit
  std::function<void()> ended_;
  proto::Bytes inputs_;  ///< one full run; shorter ones are slices of it
  uint64_t given_ = 0;
  uint64_t tickets_ = 0;
  int64_t first_submit_us_ = 0;
  int64_t counted_from_us_ = 0;
  int64_t last_result_us_ = 0;
  int64_t sent_us_ = 0;  ///< --latency: of the task on its way
  int64_t in_tasks_us_ = 0;
  Tally tally_;
  Stages stages_;
  Latencies round_trips_;
  bool over_ = false;
  std::optional<proto::Error> error_;
  std::atomic<uint64_t> received_{0};
};

}  // namespace flame::ping

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/cpp/src/session_impl.hpp"

#include <algorithm>
#include <utility>

#include "client/cpp/src/errors.hpp"

namespace flame::detail {

using proto::Code;

std::optional<client::OutgoingRun> SessionImpl::next_run() {
  auto run = queue_.take();
  if (!run) return std::nullopt;
  uint64_t ticket = ++tickets_;
  if (run->state != nullptr) {
    futures_.sent(ticket, std::move(run->state));
  } else {
    plain_.insert(ticket);
  }
  return client::OutgoingRun{ticket, run->count, proto::Bytes::own(std::move(run->payload)), false};
}

void SessionImpl::answered(uint64_t ticket, const proto::Run& run, const proto::Error* error) {
  bool plain = plain_.erase(ticket) != 0;
  std::lock_guard lock(flush_mutex_);
  if (plain && error != nullptr) {
    if (!refusal_) refusal_ = *error;
  } else if (plain) {
    acknowledged_.add(run);
  }
  tell_flush();
}

void SessionImpl::tell_flush() {
  oldest_unanswered_ = std::min(tickets_ + 1, futures_.oldest_unacknowledged());
  if (!plain_.empty()) oldest_unanswered_ = std::min(oldest_unanswered_, *plain_.begin());
  flushed_.notify_all();
}

void SessionImpl::end_submits(const proto::Error& error) {
  futures_.fail_all(error);
  auto dropped = queue_.close(error);
  tickets_ += dropped.runs;
  std::lock_guard lock(flush_mutex_);
  if (dropped.untold && !refusal_) refusal_ = error;
  tell_flush();
}

void SessionImpl::on_submitted(uint64_t ticket, const proto::Run& run, proto::Durability) {
  futures_.acknowledged(ticket, run);
  answered(ticket, run, nullptr);
}

void SessionImpl::on_submit_failed(uint64_t ticket, const proto::Error& error) {
  futures_.refused(ticket, error);
  answered(ticket, {}, &error);
}

bool SessionImpl::on_results(proto::Results&& results) {
  next_index_ = results.index + 1;
  futures_.take(results);
  auto stream = stream_.lock();
  if (stream == nullptr || results.index < stream_from_) return true;
  stream->push(std::move(results));
  return false;
}

void SessionImpl::on_trimmed(uint64_t from, uint64_t to) {
  if (auto stream = stream_.lock(); stream != nullptr && to > stream_from_)
    stream->skip_to(from, to);
}

void SessionImpl::on_watch_failed(const proto::Error& error) {
  watching_ = false;
  if (auto stream = stream_.lock()) stream->fail(error);
  stream_.reset();
  if (error.code == Code::kLostLineage) {
    // A stream's cursor of another lineage: futures have nothing to do with that.
    if (futures_watch_) {
      auto again = *futures_watch_;
      need_results(*again.connection, again.uid, again.index, again.reader);
    }
    return;
  }
  end_submits(error);
}

void SessionImpl::on_changed(const proto::SessionChanged& change) {
  auto stream = stream_.lock();
  if (stream != nullptr && change.state == proto::SessionState::kSuspended) {
    stream->fail({Code::kWrongState, "the session is suspended: " + change.reason});
  } else if (stream != nullptr) {
    stream->set_end(change.done_end, change.state == proto::SessionState::kClosed);
  }
}

void SessionImpl::on_progress(const proto::Progress& progress) {
  std::lock_guard lock(progress_mutex_);
  if (!on_progress_) return;
  for (const auto& report : progress.reports) {
    try {
      on_progress_({report.task, report.percent, report.text});
    } catch (...) {  // a user's; as with callbacks of futures, it must not end the thread
    }
  }
}

void SessionImpl::on_lost(const proto::Run& run) { futures_.lose(run); }

void SessionImpl::on_detached() {
  proto::Error error{Code::kInterrupted,
                     "the last handle of the session is gone; the session itself goes on"};
  if (auto stream = stream_.lock()) stream->fail(error);
  while (!plain_.empty()) answered(*plain_.begin(), {}, &error);
  end_submits(error);
}

void SessionImpl::read_into(client::Connection& connection, proto::SessionUid uid,
                            const std::shared_ptr<ResultQueue>& stream, const std::string& reader) {
  if (auto before = stream_.lock()) {
    before->fail({Code::kInterrupted, "another stream of the same session was opened"});
  }
  auto cursor = stream->cursor();
  stream_ = stream;
  stream_from_ = cursor.index;
  // A watch that has not come so far yet delivers what is wanted; futures may need what is before
  // it.
  if (watching_ && next_index_ <= cursor.index && reader.empty()) return;
  bool futures_wait = watching_ && !futures_.empty();
  next_index_ = futures_wait ? std::min(next_index_, cursor.index) : cursor.index;
  watching_ = true;
  connection.watch(uid, next_index_, reader, cursor.lineage);
}

void SessionImpl::need_results(client::Connection& connection, proto::SessionUid uid,
                               uint64_t index, const std::string& reader) {
  if (!futures_watch_) futures_watch_ = {&connection, uid, index, reader};
  if (watching_) return;
  watching_ = true;
  next_index_ = index;  // what came before is known: the first result of a task wins
  connection.watch(uid, next_index_, reader);
}

std::vector<TaskRange> SessionImpl::flush(std::chrono::milliseconds time) {
  uint64_t last = queue_.added();
  std::unique_lock lock(flush_mutex_);
  auto all_answered = [this, last] { return oldest_unanswered_ > last; };
  if (time == std::chrono::milliseconds::max()) {
    flushed_.wait(lock, all_answered);
  } else if (!flushed_.wait_for(lock, time, all_answered)) {
    raise({Code::kTimeout, std::to_string(last + 1 - oldest_unanswered_) +
                               " runs of tasks are not acknowledged yet"});
  }
  if (!refusal_) return take_acknowledged();
  auto refusal = *std::exchange(refusal_, std::nullopt);
  raise(refusal);
}

std::vector<TaskRange> SessionImpl::acknowledged() {
  std::lock_guard lock(flush_mutex_);
  return take_acknowledged();
}

std::vector<TaskRange> SessionImpl::take_acknowledged() {
  std::vector<TaskRange> ranges;
  for (const auto& [first, count] : acknowledged_.take()) ranges.push_back({first, count});
  return ranges;
}

}  // namespace flame::detail

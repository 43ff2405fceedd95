// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// The ceiling's broker: two sockets, one batch on its way while the next fills, one thread.

#include <poll.h>

#include <algorithm>
#include <deque>

#include "bench/ceiling/batch.hpp"
#include "bench/ceiling/message.hpp"
#include "bench/ceiling/processes.hpp"
#include "bench/ceiling/redis.hpp"
#include "bench/ceiling/ring.hpp"
#include "proto/elements.hpp"
#include "runtime/clock.hpp"
#include "runtime/socket.hpp"

namespace flame::ceiling {

namespace {

using proto::Bytes;
using proto::Run;

constexpr int kMessagesPerTurn = 256;
constexpr int64_t kHousekeepingUs = 50'000;

struct InputRun {
  Run run;
  Bytes body;
  uint64_t dispatched = 0;
  size_t at = 0;  ///< in body, of the first element that is not dispatched
  uint64_t unfinished = 0;
};

struct Send {
  bool to_client;
  Head head;
  Bytes body;
};

class Broker {
 public:
  explicit Broker(const Settings& settings)
      : settings_(settings),
        clients_(context_, runtime::Socket::Kind::kRouter),
        executors_(context_, runtime::Socket::Kind::kRouter),
        redis_(settings.redis),
        ring_(settings.ring) {
    if (!clients_.bind(settings.clients)) die("cannot listen on " + settings.clients);
    if (!executors_.bind(settings.executors)) die("cannot listen on " + settings.executors);
    std::string start;
    size_t replies = write_start(start, runtime::read_clock().wall_ms());
    redis_.ask(start, replies);
  }

  int run() {
    for (;;) {
      wait();
      read_clients();
      read_executors();
      if (!redis_.busy()) close_batch();
      if (redis_.answered()) {
        for (auto& send : in_flight_) perform(send);
        in_flight_.clear();
        done_confirmed_ = done_in_flight_;
      }
    }
  }

 private:
  bool full() const {
    return filling_.tasks >= proto::kBatchTasksMax || filling_bytes_ >= proto::kBatchBytesMax;
  }

  void wait() {
    bool read = !full();
    if (read && (clients_.readable() || executors_.readable())) return;
    bool spin = redis_.busy() && runtime::read_clock().mono_us < spin_until_us_;
    short redis_events = static_cast<short>(POLLIN | (redis_.wants_to_write() ? POLLOUT : 0));
    pollfd fds[3] = {
        {redis_.fd(), redis_events, 0}, {clients_.fd(), POLLIN, 0}, {executors_.fd(), POLLIN, 0}};
    bool ready = !redis_.busy() && !(filling_.empty() && fresh_.empty());
    poll(fds, read ? 3 : 1, spin || ready ? 0 : until_house_ms());
  }

  // A batch on its way is answered first, and its answer wakes us.
  int until_house_ms() const {
    if (!house_ || redis_.busy()) return -1;
    int64_t left_us = house_due_us_ - runtime::read_clock().mono_us;
    return static_cast<int>(std::max<int64_t>(0, left_us + 999) / 1000);
  }

  void read_clients() {
    for (int i = 0; i < kMessagesPerTurn && !full() && clients_.receive(received_); i++) {
      client_ = received_.peer;
      Head head;
      if (!from_bytes(received_.header, head)) die("a strange message from the client");
      head.kind == Kind::kSubmit ? on_submit(head) : on_read(head);
    }
  }

  void read_executors() {
    for (int i = 0; i < kMessagesPerTurn && !full() && executors_.receive(received_); i++) {
      executor_ = received_.peer;
      Head head;
      if (!from_bytes(received_.header, head)) die("a strange message from the executor");
      if (head.kind == Kind::kHello) {
        credit_ = head.count;
      } else {
        on_done(head);
      }
    }
  }

  void on_submit(const Head& head) {
    if (!proto::is_elements(received_.payload.view(), head.count))
      die("a submit that is not elements");
    Run run{standing_.tasks + 1, head.count};
    standing_.tasks += run.count;
    standing_.pending += run.count;
    filling_.tasks += run.count;
    filling_bytes_ += received_.payload.size();
    filling_.submitted = true;
    auto& last = standing_.submits.last;
    last.push_back({head.number, run, proto::Code::kOk});
    if (last.size() > proto::kSubmitsUnackedMax) last.erase(last.begin());
    filling_sends_.push_back({true, {Kind::kAcknowledge, run.first, run.count, head.number}, {}});
    uint64_t cut = proto::segment_end(run.first);
    if (run.end() <= cut) return add_fresh(run, received_.payload);
    size_t at = *proto::skip_elements(received_.payload.view(), cut - run.first);
    add_fresh({run.first, cut - run.first}, received_.payload.slice(0, at));
    add_fresh({cut, run.end() - cut}, received_.payload.slice(at, received_.payload.size() - at));
  }

  // Submits that fall into one batch are stored as one run, as far as a run goes.
  void add_fresh(const Run& run, const Bytes& body) {
    bool joins = !fresh_.empty() && fresh_.back().run.end() == run.first &&
                 proto::segment_of(fresh_.back().run.first) == proto::segment_of(run.first) &&
                 fresh_.back().run.count + run.count <= proto::kRunTasksMax &&
                 fresh_.back().bytes + body.size() <= proto::kRunBytesMax;
    if (!joins) fresh_.push_back({{run.first, 0}, 0, {}});
    fresh_.back().run.count += run.count;
    fresh_.back().bytes += body.size();
    fresh_.back().pieces.push_back(body);
  }

  void seal_fresh() {
    for (auto& fresh : fresh_) {
      Bytes body = fresh.pieces.front();
      if (fresh.pieces.size() > 1) {
        std::string all;
        all.reserve(fresh.bytes);
        for (const auto& piece : fresh.pieces) all += piece.view();
        body = Bytes::own(std::move(all));
      }
      filling_.inputs.emplace_back(fresh.run, body);
      filling_.set_letters(fresh.run, 'P');
      runs_.push_back({fresh.run, std::move(body), 0, 0, fresh.run.count});
    }
    fresh_.clear();
  }

  void on_done(const Head& head) {
    Run run = head.run();
    if (!proto::is_elements(received_.payload.view(), run.count))
      die("a result that is not elements");
    filling_.set_letters(run, 'S');
    Filling::Step step;
    step.drop_input = finish(run);
    step.result = static_cast<int>(filling_.results.size());
    filling_.steps.push_back(std::move(step));
    proto::OutputHead output{
        "executor-1", 1, head.base_ms, {}, {{run.count, head.start_us, head.end_us}}};
    filling_.results.push_back(
        {run, proto::encode_output_head(output, run.count), received_.payload});
    standing_.running -= run.count;
    standing_.succeed += run.count;
    credit_ += run.count;
    filling_.tasks += run.count;
    filling_bytes_ += received_.payload.size();
    done_.push_back(run);
    filling_sends_.push_back({true,
                              {Kind::kResults, run.first, run.count, done_end_++, head.base_ms,
                               head.start_us, head.end_us},
                              received_.payload});
  }

  // The input run if all its tasks have results now.
  Run finish(const Run& run) {
    auto at =
        std::upper_bound(runs_.begin(), runs_.end(), run.first,
                         [](uint64_t id, const InputRun& input) { return id < input.run.first; });
    --at;
    at->unfinished -= run.count;
    if (at->unfinished > 0) return {};
    Run whole = at->run;
    while (!runs_.empty() && runs_.front().unfinished == 0) runs_.pop_front(), next_--;
    return whole;
  }

  // How far somebody has read goes with the next batch, whatever that is about ...
  void on_read(const Head& head) {
    standing_.read_until = std::max(standing_.read_until, head.number);
    filling_.reader = house_ = true;
  }

  // ... and what was read is dropped every 50 ms, if need be in a batch of its own.
  void keep_house(int64_t now_us) {
    if (!house_ || now_us < house_due_us_) return;
    house_due_us_ = now_us + kHousekeepingUs;
    house_ = false;
    filling_.touched = true;
    Filling::Step step;
    while (standing_.done_first < std::min(standing_.read_until, done_confirmed_)) {
      step.read.push_back(done_.front());
      uint64_t segment = standing_.read_tasks / proto::kSegmentTasks;
      standing_.read_tasks += done_.front().count;
      if (standing_.read_tasks / proto::kSegmentTasks > segment) step.gone.push_back(segment);
      done_.pop_front();
      standing_.done_first++;
    }
    if (step.read.empty()) return;
    filling_.trims = true;
    filling_.steps.push_back(std::move(step));
  }

  void dispatch() {
    while (credit_ > 0 && next_ < runs_.size()) {
      InputRun& input = runs_[next_];
      uint64_t left = input.run.count - input.dispatched;
      uint64_t count = std::min(left, credit_);
      if (count < left && count < settings_.credit / 4 && credit_ < settings_.credit / 2)
        return;  // a crumb
      size_t size = count == left
                        ? input.body.size() - input.at
                        : *proto::skip_elements(input.body.view().substr(input.at), count);
      Run run{input.run.first + input.dispatched, count};
      filling_sends_.push_back(
          {false, {Kind::kTasks, run.first, run.count}, input.body.slice(input.at, size)});
      filling_.set_letters(run, 'R');
      credit_ -= count;
      standing_.pending -= count;
      standing_.running += count;
      input.dispatched += count;
      input.at += size;
      if (count < left) return;
      input.body = {};
      next_++;
    }
  }

  void close_batch() {
    auto now = runtime::read_clock();
    keep_house(now.mono_us);
    seal_fresh();
    dispatch();
    if (filling_.empty()) return;
    standing_.wall_ms = now.wall_ms();
    standing_.submits.used_ms = static_cast<uint64_t>(now.wall_ms());
    char* to = ring_.reserve(size_max(filling_, standing_));
    auto [bytes, replies] = write_batch(filling_, standing_, ++batch_, to);
    ring_.commit(bytes);
    redis_.send({to, bytes}, replies, batch_);
    filling_ = {};
    filling_bytes_ = 0;
    in_flight_.swap(filling_sends_);
    done_in_flight_ = done_end_;
    if (settings_.spin_us > 0) spin_until_us_ = now.mono_us + settings_.spin_us;
  }

  void perform(const Send& send) {
    (send.to_client ? clients_ : executors_)
        .send(send.to_client ? client_ : executor_, to_bytes(send.head), &send.body);
  }

  struct FreshRun {
    Run run;
    size_t bytes;
    std::vector<Bytes> pieces;
  };

  const Settings& settings_;
  runtime::SocketContext context_;
  runtime::Socket clients_, executors_;
  Redis redis_;
  Ring ring_;
  runtime::Received received_;
  std::string client_, executor_;
  std::vector<FreshRun> fresh_;
  std::deque<InputRun> runs_;  ///< with tasks that have no result
  size_t next_ = 0;            ///< the first of them with tasks that are not dispatched
  uint64_t credit_ = 0;
  std::deque<Run> done_;  ///< entries that are stored or on their way, from done_first on
  uint64_t done_end_ = 0, done_in_flight_ = 0, done_confirmed_ = 0;
  Standing standing_;
  bool house_ = false;  ///< there is something to drop
  int64_t house_due_us_ = 0;
  Filling filling_;
  size_t filling_bytes_ = 0;
  std::vector<Send> filling_sends_, in_flight_;
  uint64_t batch_ = 0;
  int64_t spin_until_us_ = 0;
};

}  // namespace

int run_broker(const Settings& settings) { return Broker(settings).run(); }

}  // namespace flame::ceiling

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "bench/ceiling/batch.hpp"

#include "proto/crc32c.hpp"
#include "proto/elements.hpp"
#include "proto/keys.hpp"

namespace flame::ceiling {

using broker::RespOut;
using proto::Run;
using proto::segment_of;

namespace {

// What a task leaves behind beside its bytes, and what a command needs beside its values.
constexpr size_t kCommandBytes = 512;

void put_run(const Run& run, RespOut& out) {
  char name[42];
  auto end = std::to_chars(name, name + 20, run.first).ptr;
  if (run.count > 1) {
    *end++ = '-';
    end = std::to_chars(end, end + 20, run.last()).ptr;
  }
  out.text({name, static_cast<size_t>(end - name)});
}

void put_input(const Run& run, const proto::Bytes& body, RespOut& out) {
  put_run(run, out);
  std::string header = proto::array_header(run.count);
  out.begin_text(header.size() + body.size());
  out.raw(header);
  out.raw(body.view());
  out.end_line();
}

void put_output(const StoredResult& result, RespOut& out) {
  put_run(result.run, out);
  auto crc = proto::crc32c(result.elements.view(), proto::crc32c(result.head));
  auto tail = proto::encode_output_tail(crc);
  out.begin_text(result.head.size() + result.elements.size() + tail.size());
  out.raw(result.head);
  out.raw(result.elements.view());
  out.raw(tail);
  out.end_line();
}

// Calls `put` for each element of [0, size) after a command for each stretch in one segment.
template <class RunAt, class Begin, class Put>
void by_segment(size_t size, RunAt run_at, Begin begin, Put put) {
  for (size_t from = 0; from < size;) {
    uint64_t segment = segment_of(run_at(from).first);
    size_t to = from;
    while (to < size && segment_of(run_at(to).first) == segment) to++;
    begin(segment, to - from);
    for (; from < to; from++) put(from);
  }
}

class Writer {
 public:
  Writer(const Filling& filling, const Standing& standing, char* to)
      : filling_(filling), standing_(standing), out_(to) {}

  std::pair<size_t, size_t> write(uint64_t number) {
    out_.command("MULTI", 1);
    filling_.trims ? in_order() : joined();
    out_.command("HSET", 4);
    out_.text(proto::kMetaKey);
    out_.text("batch");
    out_.number(number);
    out_.command("EXEC", 1);
    out_.command("WATCH", 2);
    out_.text(proto::kMetaKey);
    out_.command("HMGET", 4);
    out_.text(proto::kMetaKey);
    out_.text("epoch");
    out_.text("batch");
    return {out_.size(), out_.commands()};
  }

 private:
  void begin(std::string_view name, const std::string& key, size_t arguments) {
    out_.command(name, 2 + arguments);
    out_.text(key);
  }

  // Where results are dropped in the same batch, order matters and nothing is joined.
  void in_order() {
    for (const auto& step : filling_.steps) {
      if (!step.drop_input.empty()) {
        begin("HDEL", proto::input_key(kSession, segment_of(step.drop_input.first)), 1);
        put_run(step.drop_input, out_);
      }
      if (step.result >= 0) put_result(filling_.results[static_cast<size_t>(step.result)]);
      if (!step.read.empty()) put_read(step.read);
      for (auto segment : step.gone) put_gone(segment);
    }
    for (const auto& [run, body] : filling_.inputs) {
      begin("HSET", proto::input_key(kSession, segment_of(run.first)), 2);
      put_input(run, body, out_);
    }
    put_letters();
    put_standing();
  }

  void joined() {
    put_standing();
    const auto& inputs = filling_.inputs;
    by_segment(
        inputs.size(), [&](size_t i) { return inputs[i].first; },
        [&](uint64_t k, size_t n) { begin("HSET", proto::input_key(kSession, k), 2 * n); },
        [&](size_t i) { put_input(inputs[i].first, inputs[i].second, out_); });
    const auto& results = filling_.results;
    by_segment(
        results.size(), [&](size_t i) { return results[i].run; },
        [&](uint64_t k, size_t n) { begin("HSET", proto::output_key(kSession, k), 2 * n); },
        [&](size_t i) { put_output(results[i], out_); });
    if (!results.empty()) begin("RPUSH", proto::done_key(kSession), results.size());
    for (const auto& result : results) put_run(result.run, out_);
    put_letters();
    std::vector<Run> drops;
    for (const auto& step : filling_.steps) {
      if (!step.drop_input.empty()) drops.push_back(step.drop_input);
    }
    by_segment(
        drops.size(), [&](size_t i) { return drops[i]; },
        [&](uint64_t k, size_t n) { begin("HDEL", proto::input_key(kSession, k), n); },
        [&](size_t i) { put_run(drops[i], out_); });
  }

  void put_result(const StoredResult& result) {
    begin("HSET", proto::output_key(kSession, segment_of(result.run.first)), 2);
    put_output(result, out_);
    begin("RPUSH", proto::done_key(kSession), 1);
    put_run(result.run, out_);
  }

  void put_read(const std::vector<Run>& read) {
    by_segment(
        read.size(), [&](size_t i) { return read[i]; },
        [&](uint64_t k, size_t n) { begin("HDEL", proto::output_key(kSession, k), n); },
        [&](size_t i) { put_run(read[i], out_); });
    begin("LTRIM", proto::done_key(kSession), 2);
    out_.number(read.size());
    out_.text("-1");
  }

  void put_gone(uint64_t segment) {
    begin("UNLINK", proto::state_key(kSession, segment), 3);
    out_.text(proto::input_key(kSession, segment));
    out_.text(proto::options_key(kSession, segment));
    out_.text(proto::output_key(kSession, segment));
  }

  void put_letters() {
    for (const auto& [run, letter] : filling_.letters) {
      for (uint64_t id = run.first; id < run.end();) {
        uint64_t end = std::min(run.end(), proto::segment_end(id));
        begin("SETRANGE", proto::state_key(kSession, segment_of(id)), 2);
        out_.number(proto::offset_in_segment(id));
        out_.begin_text(end - id);
        out_.fill(letter, end - id);
        out_.end_line();
        id = end;
      }
    }
  }

  void put_standing() {
    if (filling_.submitted) {
      begin("HSET", proto::submits_key(kSession), 2);
      out_.text("0123456789abcdef0123456789abcdef");
      out_.text(proto::encode_submits(standing_.submits));
    }
    if (filling_.reader) {
      begin("HSET", proto::readers_key(kSession), 2);
      out_.text(kSession);
      out_.text(std::to_string(standing_.read_until) + " " + std::to_string(standing_.wall_ms));
    }
    begin("HSET", proto::session_key(kSession), filling_.trims ? 18 : 14);
    put("tasks", standing_.tasks);
    put("pending", standing_.pending);
    put("running", standing_.running);
    put("succeed", standing_.succeed);
    put("failed", 0);
    put("cancelled", 0);
    put("done_first", standing_.done_first);
    if (!filling_.trims) return;
    uint64_t gone = standing_.read_tasks / proto::kSegmentTasks;
    put("first_segment", gone);
    out_.text("trimmed");
    out_.text(std::to_string(gone) + ":" +
              std::to_string(standing_.read_tasks % proto::kSegmentTasks));
  }

  void put(std::string_view name, uint64_t value) {
    out_.text(name);
    out_.number(value);
  }

  const Filling& filling_;
  const Standing& standing_;
  RespOut out_;
};

}  // namespace

// As the real core has it: a run dispatched in the batch that stores it was never pending in Redis.
void Filling::set_letters(const Run& run, char letter) {
  if (letter == 'R') {
    for (auto& [earlier, state] : letters) {
      if (state != 'P' || earlier.first != run.first || earlier.count < run.count) continue;
      earlier = {earlier.first + run.count, earlier.count - run.count};
      break;
    }
  }
  if (!letters.empty()) {
    auto& [last, state] = letters.back();
    if (state == letter && last.count > 0 && last.end() == run.first &&
        segment_of(last.first) == segment_of(run.first)) {
      last.count += run.count;
      return;
    }
  }
  letters.emplace_back(run, letter);
}

size_t write_start(std::string& bytes, int64_t wall_ms) {
  bytes.resize(4 * kCommandBytes);
  RespOut out(bytes.data());
  out.command("HSET", 6);
  out.text(proto::kMetaKey);
  out.text("epoch");
  out.text(kEpoch);
  out.text("batch");
  out.number(0);
  out.command("ZADD", 4);
  out.text(proto::kSessionsKey);
  out.number(static_cast<uint64_t>(wall_ms));
  out.text(kSession);
  out.command("WATCH", 2);
  out.text(proto::kMetaKey);
  bytes.resize(out.size());
  return out.commands();
}

size_t size_max(const Filling& filling, const Standing& standing) {
  size_t size = 8 * kCommandBytes + standing.submits.last.size() * 48;
  for (const auto& step : filling.steps)
    size += (1 + step.read.size() + 4 * step.gone.size()) * kCommandBytes;
  for (const auto& result : filling.results)
    size += 2 * kCommandBytes + result.head.size() + result.elements.size();
  for (const auto& [run, body] : filling.inputs) size += kCommandBytes + body.size();
  for (const auto& [run, letter] : filling.letters) size += 2 * kCommandBytes + run.count;
  return size;
}

std::pair<size_t, size_t> write_batch(const Filling& filling, const Standing& standing,
                                      uint64_t number, char* out) {
  return Writer(filling, standing, out).write(number);
}

}  // namespace flame::ceiling

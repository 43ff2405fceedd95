// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/store/batch.hpp"

#include <algorithm>
#include <type_traits>

#include "proto/crc32c.hpp"
#include "proto/elements.hpp"
#include "proto/keys.hpp"

namespace flame::broker {

namespace {

using proto::Run;
using proto::segment_of;
using Ops = std::vector<const StoreOp*>;
using OpSpan = std::pair<Ops::const_iterator, Ops::const_iterator>;

// Above every constant part of one command or one field: names, lengths, numbers, line ends, key
// around the session.
constexpr size_t kCommandBytes = 160;
constexpr size_t kFieldBytes = 80;

template <class T>
const T& as(const StoreOp* op) {
  return *std::get_if<T>(op);
}

// ---- size
// -----------------------------------------------------------------------------------------------

size_t size_of(const TextFields& fields) {
  size_t size = 0;
  for (const auto& [name, value] : fields) size += name.size() + value.size() + kFieldBytes;
  return size;
}

struct SizeMax {
  size_t operator()(const PutApplication& op) const {
    return op.name.size() + op.value.size() + kFieldBytes;
  }
  size_t operator()(const DropApplication& op) const { return 2 * op.name.size() + kCommandBytes; }
  size_t operator()(const PutSession& op) const {
    return 3 * (kCommandBytes + op.session.size()) + size_of(op.fields) + op.common.size();
  }
  size_t operator()(const PutCommon& op) const {
    return kCommandBytes + op.session.size() + op.value.size();
  }
  size_t operator()(const PutFields& op) const { return op.session.size() + size_of(op.fields); }
  size_t operator()(const PutInput& op) const {
    size_t size = op.session.size() + kFieldBytes;
    for (const auto& piece : op.pieces) size += piece.size();
    return size;
  }
  size_t operator()(const DropInput& op) const {
    return op.session.size() + op.runs.size() * kFieldBytes;
  }
  size_t operator()(const PutState& op) const {
    return op.session.size() + op.run.count + kFieldBytes;
  }
  size_t operator()(const PutOutput& op) const {
    return 2 * (kCommandBytes + op.session.size()) + op.head.size() + op.elements.size() +
           kFieldBytes;
  }
  size_t operator()(const DropOutput& op) const {
    return op.session.size() + op.runs.size() * kFieldBytes;
  }
  size_t operator()(const TrimDone& op) const { return op.session.size() + kFieldBytes; }
  size_t operator()(const PutAttempts& op) const {
    return 2 * (kCommandBytes + op.session.size()) + op.charged.size() * kFieldBytes;
  }
  size_t operator()(const PutSubmits& op) const {
    return op.session.size() + op.client.size() + op.value.size() + kFieldBytes;
  }
  size_t operator()(const PutReader& op) const {
    return op.session.size() + op.reader.size() + op.value.size() + kFieldBytes;
  }
  size_t operator()(const PutEvent& op) const {
    return op.session.size() + op.code.size() + op.text.size() + 4 * kFieldBytes;
  }
  size_t operator()(const DropSegments& op) const {
    return op.last < op.first ? 0
                              : (op.last - op.first + 1) * 4 * (kFieldBytes + op.session.size());
  }
  size_t operator()(const DropResults& op) const { return 8 * (kFieldBytes + op.session.size()); }
  size_t operator()(const DropSession& op) const {
    return kCommandBytes + 9 * (kFieldBytes + op.session.size());
  }
  size_t operator()(const PutExecutor& op) const {
    return op.executor.size() + op.value.size() + kFieldBytes;
  }
  size_t operator()(const PutDemand& op) const {
    return op.application.size() + op.value.size() + kFieldBytes;
  }
};

// ---- one kind of operation, one or many of it on one key
// ------------------------------------------------

void put_run(const Run& run, RespOut& out) {
  char name[42];
  auto end = std::to_chars(name, name + 20, run.first).ptr;
  if (run.count > 1) {
    *end++ = '-';
    end = std::to_chars(end, end + 20, run.last()).ptr;
  }
  out.text({name, static_cast<size_t>(end - name)});
}

void put_fields(std::string_view key, const TextFields& fields, RespOut& out) {
  if (fields.empty()) return;
  out.command("HSET", 2 + 2 * fields.size());
  out.text(key);
  for (const auto& [name, value] : fields) out.text(name), out.text(value);
}

/// An empty value removes the field.
void put_field(std::string_view key, std::string_view field, std::string_view value, RespOut& out) {
  out.command(value.empty() ? "HDEL" : "HSET", value.empty() ? 3 : 4);
  out.text(key);
  out.text(field);
  if (!value.empty()) out.text(value);
}

template <class Runs>
void drop_runs(std::string_view key, const Runs& runs, size_t count, RespOut& out) {
  if (count == 0) return;
  out.command("HDEL", 2 + count);
  out.text(key);
  for (const Run& run : runs) put_run(run, out);
}

void put_inputs(OpSpan ops, RespOut& out) {
  const auto& front = as<PutInput>(*ops.first);
  out.command("HSET", 2 + 2 * static_cast<uint64_t>(ops.second - ops.first));
  out.text(proto::input_key(front.session, segment_of(front.run.first)));
  for (auto at = ops.first; at != ops.second; ++at) {
    const auto& op = as<PutInput>(*at);
    put_run(op.run, out);
    std::string header = proto::array_header(op.run.count);
    size_t size = header.size();
    for (const auto& piece : op.pieces) size += piece.size();
    out.begin_text(size);
    out.raw(header);
    for (const auto& piece : op.pieces) out.raw(piece.view());
    out.end_line();
  }
}

void put_outputs(OpSpan ops, RespOut& out) {
  const auto& front = as<PutOutput>(*ops.first);
  out.command("HSET", 2 + 2 * static_cast<uint64_t>(ops.second - ops.first));
  out.text(proto::output_key(front.session, segment_of(front.run.first)));
  for (auto at = ops.first; at != ops.second; ++at) {
    const auto& op = as<PutOutput>(*at);
    put_run(op.run, out);
    auto tail =
        proto::encode_output_tail(proto::crc32c(op.elements.view(), proto::crc32c(op.head)));
    out.begin_text(op.head.size() + op.elements.size() + tail.size());
    out.raw(op.head);
    out.raw(op.elements.view());
    out.raw(tail);
    out.end_line();
  }
}

void put_done(const Ops& outputs, RespOut& out) {
  out.command("RPUSH", 2 + outputs.size());
  out.text(proto::done_key(as<PutOutput>(outputs[0]).session));
  for (const StoreOp* op : outputs) put_run(as<PutOutput>(op).run, out);
}

void put_letters(std::string_view session, const Run& run, proto::TaskState state, RespOut& out) {
  out.command("SETRANGE", 4);
  out.text(proto::state_key(session, segment_of(run.first)));
  out.number(proto::offset_in_segment(run.first));
  out.begin_text(run.count);
  out.fill(static_cast<char>(state), run.count);
  out.end_line();
}

// Neighbours with the same letter become one command; the order of the rest is kept.
void put_states(const Ops& ops, RespOut& out) {
  Run run = as<PutState>(ops[0]).run;
  proto::TaskState state = as<PutState>(ops[0]).state;
  for (size_t i = 1; i < ops.size(); i++) {
    const auto& next = as<PutState>(ops[i]);
    if (next.state == state && next.run.first == run.end() &&
        segment_of(run.first) == segment_of(next.run.first)) {
      run.count += next.run.count;
      continue;
    }
    put_letters(next.session, run, state, out);
    run = next.run;
    state = next.state;
  }
  put_letters(as<PutState>(ops[0]).session, run, state, out);
}

void drop_inputs(OpSpan ops, RespOut& out) {
  const auto& front = as<DropInput>(*ops.first);
  size_t count = 0;
  for (auto at = ops.first; at != ops.second; ++at) count += as<DropInput>(*at).runs.size();
  if (count == 0) return;
  out.command("HDEL", 2 + count);
  out.text(proto::input_key(front.session, segment_of(front.runs[0].first)));
  for (auto at = ops.first; at != ops.second; ++at) {
    for (const Run& run : as<DropInput>(*at).runs) put_run(run, out);
  }
}

// ---- the rest, one by one
// -------------------------------------------------------------------------------

std::vector<std::string> keys_of_results(std::string_view session) {
  return {proto::common_key(session),   proto::done_key(session),
          proto::attempts_key(session), proto::idempotency_key(session),
          proto::readers_key(session),  proto::submits_key(session),
          proto::events_key(session)};
}

void unlink(const std::vector<std::string>& keys, RespOut& out) {
  if (keys.empty()) return;
  out.command("UNLINK", 1 + keys.size());
  for (const auto& key : keys) out.text(key);
}

void put_attempts(const PutAttempts& op, RespOut& out) {
  auto kept = static_cast<size_t>(std::count_if(
      op.charged.begin(), op.charged.end(), [](const auto& entry) { return entry.second > 0; }));
  auto key = proto::attempts_key(op.session);
  if (kept > 0) {
    out.command("HSET", 2 + 2 * kept);
    out.text(key);
    for (const auto& [task, attempts] : op.charged) {
      if (attempts > 0) out.number(task), out.number(attempts);
    }
  }
  if (kept == op.charged.size()) return;
  out.command("HDEL", 2 + op.charged.size() - kept);
  out.text(key);
  for (const auto& [task, attempts] : op.charged) {
    if (attempts == 0) out.number(task);
  }
}

struct PutOne {
  RespOut& out;
  const StoreOp* op;

  void operator()(const PutApplication& o) const {
    put_field(proto::kAppsKey, o.name, o.value, out);
  }
  void operator()(const DropApplication& o) const {
    put_field(proto::kAppsKey, o.name, "", out);
    put_field(proto::kDemandKey, o.name, "", out);
  }
  void operator()(const PutSession& o) const {
    out.command("ZADD", 4);
    out.text(proto::kSessionsKey);
    out.number(static_cast<uint64_t>(std::max<int64_t>(0, o.created_ms)));
    out.text(o.session);
    put_fields(proto::session_key(o.session), o.fields, out);
    if (!o.common.empty()) (*this)(PutCommon{o.session, o.common});
  }
  void operator()(const PutCommon& o) const {
    if (o.value.empty()) return unlink({proto::common_key(o.session)}, out);
    out.command("SET", 3);
    out.text(proto::common_key(o.session));
    out.text(o.value.view());
  }
  void operator()(const PutFields& o) const {
    put_fields(proto::session_key(o.session), o.fields, out);
  }
  void operator()(const PutInput&) const {
    Ops one{op};
    put_inputs({one.begin(), one.end()}, out);
  }
  void operator()(const DropInput& o) const {
    if (o.runs.empty()) return;
    drop_runs(proto::input_key(o.session, segment_of(o.runs[0].first)), o.runs, o.runs.size(), out);
  }
  void operator()(const PutState& o) const { put_letters(o.session, o.run, o.state, out); }
  void operator()(const PutOutput&) const {
    Ops one{op};
    put_outputs({one.begin(), one.end()}, out);
    put_done(one, out);
  }
  void operator()(const DropOutput& o) const {
    if (o.runs.empty()) return;
    drop_runs(proto::output_key(o.session, segment_of(o.runs[0].first)), o.runs, o.runs.size(),
              out);
  }
  void operator()(const TrimDone& o) const {
    out.command("LTRIM", 4);
    out.text(proto::done_key(o.session));
    out.number(o.count);
    out.text("-1");
  }
  void operator()(const PutAttempts& o) const { put_attempts(o, out); }
  void operator()(const PutSubmits& o) const {
    put_field(proto::submits_key(o.session), o.client, o.value, out);
  }
  void operator()(const PutReader& o) const {
    put_field(proto::readers_key(o.session), o.reader, o.value, out);
  }
  void operator()(const PutEvent& o) const {
    out.command("XADD", 12);
    out.text(proto::events_key(o.session));
    out.text("MAXLEN");
    out.text("~");
    out.number(proto::kEventsKept);
    out.text("*");
    out.text("at");
    out.number(static_cast<uint64_t>(std::max<int64_t>(0, o.at_ms)));
    out.text("code");
    out.text(o.code);
    out.text("text");
    out.text(o.text);
  }
  void operator()(const DropSegments& o) const {
    std::vector<std::string> keys;
    for (uint64_t k = o.first; k <= o.last; k++) {
      if (o.state) keys.push_back(proto::state_key(o.session, k));
      keys.push_back(proto::input_key(o.session, k));
      keys.push_back(proto::options_key(o.session, k));
      keys.push_back(proto::output_key(o.session, k));
    }
    unlink(keys, out);
  }
  void operator()(const DropResults& o) const { unlink(keys_of_results(o.session), out); }
  void operator()(const DropSession& o) const {
    auto keys = keys_of_results(o.session);
    keys.push_back(proto::session_key(o.session));
    unlink(keys, out);
    out.command("ZREM", 3);
    out.text(proto::kSessionsKey);
    out.text(o.session);
  }
  void operator()(const PutExecutor& o) const {
    put_field(proto::kExecutorsKey, o.executor, o.value, out);
  }
  void operator()(const PutDemand& o) const {
    put_field(proto::kDemandKey, o.application, o.value, out);
  }
};

/// True for operations that may change places with each other within a batch: new inputs before
/// dropped ones, and nothing of these reads or removes what another wrote.
bool plain(const StoreOp& op) {
  return !std::holds_alternative<DropOutput>(op) && !std::holds_alternative<TrimDone>(op) &&
         !std::holds_alternative<DropSegments>(op) && !std::holds_alternative<DropResults>(op) &&
         !std::holds_alternative<DropSession>(op);
}

/// Calls `put` for each stretch of operations in one segment.
template <class First, class Put>
void by_segment(Ops ops, First first, Put put, RespOut& out) {
  auto segment = [&](const StoreOp* op) { return segment_of(first(op)); };
  auto less = [&](const StoreOp* a, const StoreOp* b) { return segment(a) < segment(b); };
  if (!std::is_sorted(ops.begin(), ops.end(), less)) std::stable_sort(ops.begin(), ops.end(), less);
  for (auto from = ops.cbegin(); from != ops.cend();) {
    auto to = std::find_if(from, ops.cend(),
                           [&](const StoreOp* op) { return segment(op) != segment(*from); });
    put(OpSpan{from, to}, out);
    from = to;
  }
}

}  // namespace

size_t BatchEncoder::size_max(const Batch& batch) {
  size_t size = 4 * kCommandBytes;
  for (const auto& op : batch.ops) size += kCommandBytes + std::visit(SizeMax{}, op);
  return size;
}

BatchEncoder::SessionOps& BatchEncoder::ops_of(std::string_view session) {
  if (used_ > 0 && sessions_[used_ - 1].session == session) return sessions_[used_ - 1];
  auto [found, fresh] = index_.try_emplace(session, used_);
  if (!fresh) return sessions_[found->second];
  if (used_ == sessions_.size()) sessions_.emplace_back();
  auto& ops = sessions_[used_++];
  ops.session = session;
  ops.plain = true;
  for (auto* list :
       {&ops.inputs, &ops.drops, &ops.outputs, &ops.states, &ops.others, &ops.in_order}) {
    list->clear();
  }
  return ops;
}

// What is no session's is written at once.
void BatchEncoder::sort_out(const Batch& batch, RespOut& out) {
  index_.clear();
  used_ = 0;
  for (const auto& op : batch.ops) {
    auto session = session_of(op);
    if (session.empty()) {
      std::visit(PutOne{out, &op}, op);
      continue;
    }
    auto& ops = ops_of(session);
    ops.plain = ops.plain && plain(op);
    ops.in_order.push_back(&op);
    if (std::holds_alternative<PutInput>(op)) {
      ops.inputs.push_back(&op);
    } else if (std::holds_alternative<PutOutput>(op)) {
      ops.outputs.push_back(&op);
    } else if (std::holds_alternative<PutState>(op)) {
      ops.states.push_back(&op);
    } else if (auto drop = std::get_if<DropInput>(&op)) {
      if (!drop->runs.empty()) ops.drops.push_back(&op);
    } else {
      ops.others.push_back(&op);
    }
  }
}

void BatchEncoder::put_session(const SessionOps& ops, RespOut& out) {
  if (!ops.plain) {
    for (const StoreOp* op : ops.in_order) std::visit(PutOne{out, op}, *op);
    return;
  }
  auto input_of = [](const StoreOp* op) { return as<PutInput>(op).run.first; };
  auto output_of = [](const StoreOp* op) { return as<PutOutput>(op).run.first; };
  auto drop_of = [](const StoreOp* op) { return as<DropInput>(op).runs[0].first; };
  for (const StoreOp* op : ops.others) std::visit(PutOne{out, op}, *op);
  if (!ops.inputs.empty()) by_segment(ops.inputs, input_of, put_inputs, out);
  if (!ops.outputs.empty()) {
    by_segment(ops.outputs, output_of, put_outputs, out);
    put_done(ops.outputs, out);
  }
  if (!ops.states.empty()) put_states(ops.states, out);
  if (!ops.drops.empty()) by_segment(ops.drops, drop_of, drop_inputs, out);
}

EncodedBatch BatchEncoder::encode(const Batch& batch, char* to) {
  RespOut out(to);
  out.command("MULTI", 1);
  sort_out(batch, out);
  for (size_t i = 0; i < used_; i++) put_session(sessions_[i], out);
  out.command("HSET", 4);
  out.text(proto::kMetaKey);
  out.text("batch");
  out.number(batch.number);
  out.command("EXEC", 1);
  out.command("WATCH", 2);
  out.text(proto::kMetaKey);
  out.command("HMGET", 4);
  out.text(proto::kMetaKey);
  out.text("epoch");
  out.text("batch");
  return {out.size(), out.commands()};
}

}  // namespace flame::broker

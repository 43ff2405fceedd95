// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/cpp/src/core/request_table.hpp"

#include <algorithm>

namespace flame::client {

namespace {

void set_request(proto::Message& message, uint64_t id) {
  std::visit(
      [id](auto& m) {
        if constexpr (requires { m.request; }) m.request = id;
      },
      message);
}

// Those that pass by themselves. lost_lineage needs a person, so it is an answer.
bool passes(proto::Code code) {
  return proto::row_of(code).retry == proto::Retry::kLater && code != proto::Code::kLostLineage;
}

}  // namespace

RequestTable::Id RequestTable::add(const Request& request, proto::Now now) {
  Id id = next_++;
  Pending pending{request, kNever, now.mono_us, false, {}};
  if (request.timeout_us < kNever - now.mono_us)
    pending.deadline_us = now.mono_us + request.timeout_us;
  set_request(pending.request.message, id);
  pending_.emplace(id, std::move(pending));
  return id;
}

std::vector<proto::Message> RequestTable::due(proto::Now now) {
  std::vector<proto::Message> out;
  for (auto& [id, pending] : pending_) {
    if (pending.due_us > now.mono_us) continue;
    pending.due_us = kNever;
    if (pending.ever_sent && pending.request.drawn_name) {
      if (auto create = std::get_if<proto::CreateSession>(&pending.request.message)) {
        create->open_or_create = true;
      }
    }
    pending.ever_sent = true;
    out.push_back(pending.request.message);
  }
  return out;
}

int64_t RequestTable::deadline(bool up) const {
  int64_t at = kNever;
  for (const auto& [id, pending] : pending_) {
    at = std::min({at, pending.deadline_us, up ? pending.due_us : kNever});
  }
  return at;
}

std::optional<Ticket> RequestTable::answer(Id id) {
  auto found = pending_.find(id);
  if (found == pending_.end()) return std::nullopt;
  Ticket ticket = found->second.request.ticket;
  pending_.erase(found);
  return ticket;
}

bool RequestTable::retry_later(const proto::ErrorReply& reply, proto::Now now) {
  auto found = pending_.find(reply.request);
  if (found == pending_.end() || !passes(reply.code)) return false;
  Pending& pending = found->second;
  pending.due_us = now.mono_us + retry_us(reply);
  pending.last = {reply.code, reply.message, reply.retry_after_ms};
  return pending.due_us < pending.deadline_us;
}

bool RequestTable::held_up(const proto::Error& reason) {
  bool any = false;
  for (auto& [id, pending] : pending_) {
    if (!pending.ever_sent || pending.due_us != kNever) continue;
    any = true;
    pending.last = reason;
    if (reason.code == proto::Code::kOk) continue;
    pending.last.message += "; the request was taken and may still take effect";
  }
  return any;
}

RequestTable::Failed RequestTable::expire(proto::Now now, const proto::Error& link_down) {
  static const proto::Error kNoAnswer{
      proto::Code::kTimeout,
      "the broker did not answer in time; the request may still take "
      "effect, repeating it is safe"};
  Failed failed;
  std::erase_if(pending_, [&](const auto& item) {
    const Pending& pending = item.second;
    if (pending.deadline_us > now.mono_us) return false;
    const proto::Error& error = link_down.code != proto::Code::kOk      ? link_down
                                : pending.last.code != proto::Code::kOk ? pending.last
                                                                        : kNoAnswer;
    failed.emplace_back(pending.request.ticket, error);
    return true;
  });
  return failed;
}

RequestTable::Failed RequestTable::link_lost() {
  static const proto::Error kBroken{proto::Code::kTimeout,
                                    "the connection broke before the answer came; look whether the "
                                    "request took effect before repeating it"};
  Failed failed;
  for (auto item = pending_.begin(); item != pending_.end();) {
    Pending& pending = item->second;
    if (!pending.ever_sent || pending.request.repeatable) {
      pending.due_us = 0;
      ++item;
    } else {
      failed.emplace_back(pending.request.ticket, kBroken);
      item = pending_.erase(item);
    }
  }
  return failed;
}

RequestTable::Failed RequestTable::fail_all(const proto::Error& error) {
  Failed failed;
  for (const auto& [id, pending] : pending_) failed.emplace_back(pending.request.ticket, error);
  pending_.clear();
  return failed;
}

}  // namespace flame::client

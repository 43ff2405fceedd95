// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "executor/core/results.hpp"

#include <algorithm>

#include "proto/elements.hpp"
#include "proto/limits.hpp"
#include "proto/run_list.hpp"

namespace flame::executor {

namespace {

// Reasons stand in the header; with everything else there it must stay below header_bytes_max.
constexpr size_t kReasonsBytesMax = proto::kHeaderBytesMax / 2;
constexpr size_t kExceptionBytes = 16;

size_t reason_bytes(const std::vector<proto::Exception>& exceptions) {
  size_t bytes = 0;
  for (const auto& exception : exceptions) bytes += exception.reason.size() + kExceptionBytes;
  return bytes;
}

bool same_ticket(const proto::Ticket& a, const proto::Ticket& b) {
  return a.run == b.run && a.attempt == b.attempt && a.token == b.token && a.epoch == b.epoch;
}

// A message that is being joined from answers.
struct Joined {
  std::vector<Answer> parts;
  uint64_t tasks = 0;
  size_t bytes = 0, reasons = 0;

  bool fits(const Answer& next) const {
    return parts.empty() ||
           (parts.back().uid == next.uid && parts.back().run.end() == next.run.first &&
            tasks + next.run.count <= proto::kRunTasksMax &&
            bytes + next.elements.size() <= proto::kRunBytesMax &&
            reasons + reason_bytes(next.exceptions) <= kReasonsBytesMax &&
            same_ticket(parts.back().ticket, next.ticket));
  }
  void add(Answer next) {
    tasks += next.run.count;
    bytes += next.elements.size();
    reasons += reason_bytes(next.exceptions);
    parts.push_back(std::move(next));
  }

  proto::TaskResults take() {
    proto::TaskResults message;
    message.uid = parts.front().uid;
    message.run = {parts.front().run.first, tasks};
    message.ticket = parts.front().ticket;
    int64_t base_us = parts.front().start_us;
    for (const auto& part : parts) base_us = std::min(base_us, part.start_us);
    message.base_ms = static_cast<uint64_t>(base_us / 1000);
    base_us = base_us / 1000 * 1000;
    std::string payload;
    if (parts.size() > 1) payload.reserve(bytes);
    for (auto& part : parts) {
      message.times.push_back(
          {part.run.count, static_cast<uint64_t>(part.start_us - base_us),
           static_cast<uint64_t>(std::max(part.end_us, part.start_us) - base_us)});
      std::move(part.exceptions.begin(), part.exceptions.end(),
                std::back_inserter(message.exceptions));
      if (parts.size() > 1) payload += part.elements.view();
    }
    message.payload =
        parts.size() > 1 ? proto::Bytes::own(std::move(payload)) : std::move(parts[0].elements);
    *this = {};
    return message;
  }
};

}  // namespace

Answer part_of(const Answer& answer, const proto::Run& part) {
  if (part == answer.run) return answer;
  Answer out = answer;
  out.run = part;
  auto view = answer.elements.view();
  size_t begin = proto::skip_elements(view, part.first - answer.run.first).value_or(view.size());
  size_t size = proto::skip_elements(view.substr(begin), part.count).value_or(0);
  out.elements = answer.elements.slice(begin, size);
  std::erase_if(out.exceptions,
                [&](const proto::Exception& exception) { return !part.contains(exception.id); });
  return out;
}

void ResultBox::add(Answer answer) {
  bytes_ += answer.elements.size();
  ready_.push_back(std::move(answer));
}

// Pieces that fit a message each; a task whose output alone is larger travels alone.
void ResultBox::cut(Answer answer, std::vector<Answer>& out) const {
  if (answer.run.count <= proto::kRunTasksMax && answer.elements.size() <= proto::kRunBytesMax &&
      reason_bytes(answer.exceptions) <= kReasonsBytesMax) {
    out.push_back(std::move(answer));
    return;
  }
  auto exception = answer.exceptions.begin();
  proto::ElementReader reader(answer.elements.view());
  proto::Run part{answer.run.first, 0};
  size_t bytes = 0, reasons = 0;
  for (proto::TaskId id = answer.run.first; id < answer.run.end(); id++) {
    size_t size = proto::element_size(reader.next().value_or("").size());
    size_t reason = 0;
    if (exception != answer.exceptions.end() && exception->id == id) {
      reason = exception++->reason.size() + kExceptionBytes;
    }
    if (part.count > 0 &&
        (part.count == proto::kRunTasksMax || bytes + size > proto::kRunBytesMax ||
         reasons + reason > kReasonsBytesMax)) {
      out.push_back(part_of(answer, part));
      part = {id, 0};
      bytes = reasons = 0;
    }
    part.count++;
    bytes += size;
    reasons += reason;
  }
  out.push_back(part_of(answer, part));
}

std::vector<proto::TaskResults> ResultBox::flush() {
  std::vector<proto::TaskResults> messages;
  if (ready_.empty()) return messages;
  std::vector<Answer> pieces;
  for (auto& answer : ready_) cut(std::move(answer), pieces);
  ready_.clear();
  std::sort(pieces.begin(), pieces.end(), [](const Answer& a, const Answer& b) {
    return std::pair(a.uid, a.run.first) < std::pair(b.uid, b.run.first);
  });
  Joined joined;
  for (auto& piece : pieces) {
    if (!joined.fits(piece)) messages.push_back(joined.take());
    joined.add(std::move(piece));
  }
  messages.push_back(joined.take());
  for (const auto& message : messages) keep(message);
  return messages;
}

void ResultBox::keep(const proto::TaskResults& message) {
  auto [at, fresh] =
      kept_.try_emplace({message.uid, message.run.first}, Kept{message, {message.run}});
  if (fresh) return;
  // The same task ran twice here, because the broker gave it to us again: either result will do.
  bytes_ -= at->second.message.payload.size();
  at->second = Kept{message, {message.run}};
}

std::vector<proto::TaskResults> ResultBox::unrecorded() const {
  std::vector<proto::TaskResults> all;
  for (const auto& [key, kept] : kept_) all.push_back(kept.message);
  return all;
}

void ResultBox::forget(proto::SessionUid uid, const proto::Run& run) {
  if (!ready_.empty()) forget_ready(uid, run);
  // Kept runs of a session hardly ever overlap, but one before `run` may reach into it.
  auto at = kept_.lower_bound({uid, run.first});
  while (at != kept_.begin()) {
    auto before = std::prev(at);
    if (before->first.first != uid || before->second.message.run.end() <= run.first) break;
    at = before;
  }
  while (at != kept_.end() && at->first.first == uid && at->first.second < run.end()) {
    proto::take_out(at->second.open, run);
    if (at->second.open.empty()) {
      bytes_ -= at->second.message.payload.size();
      at = kept_.erase(at);
    } else {
      ++at;
    }
  }
}

void ResultBox::forget_ready(proto::SessionUid uid, const proto::Run& run) {
  std::vector<Answer> before = std::move(ready_);
  ready_.clear();
  for (auto& answer : before) {
    auto common = answer.uid == uid ? answer.run.intersect(run) : proto::Run{};
    if (common.empty()) {
      ready_.push_back(std::move(answer));
      continue;
    }
    bytes_ -= answer.elements.size();
    if (answer.run.first < common.first) {
      add(part_of(answer, {answer.run.first, common.first - answer.run.first}));
    }
    if (common.end() < answer.run.end()) {
      add(part_of(answer, {common.end(), answer.run.end() - common.end()}));
    }
  }
}

void ResultBox::list(std::vector<proto::HandRun>& hand) const {
  for (const auto& answer : ready_) hand.push_back({answer.uid, answer.run, answer.ticket});
  for (const auto& [key, kept] : kept_) {
    for (const auto& run : kept.open) hand.push_back({key.first, run, kept.message.ticket});
  }
}

}  // namespace flame::executor

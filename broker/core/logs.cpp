// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/logs.hpp"

#include "broker/core/clients.hpp"
#include "proto/codec.hpp"
#include "proto/elements.hpp"

namespace flame::broker {

using proto::Code;

namespace {

constexpr int64_t kWaitUs = int64_t{proto::kLogWaitMs} * proto::kUsPerMs;
/// People ask, one at a time.
constexpr size_t kQuestionsMax = 64;

void answer(State& state, LogQuestion& question) {
  for (const auto& id : question.missing) {
    auto row =
        proto::Map{{"executor", id},
                   {"error", "did not answer within " + std::to_string(proto::kLogWaitMs) + " ms"}};
    proto::append_element(question.payload, proto::encode_value(row));
    proto::append_element(question.payload, "");
  }
  auto client = state.clients.find(question.peer);
  if (client == state.clients.end()) return;
  send_now(
      state, client->second,
      proto::Logs{question.request, question.cut, proto::Bytes::own(std::move(question.payload))});
}

// Pairs of a row and its text, and nothing behind them: one bad executor must not make the others'
// unreadable.
bool is_rows(std::string_view payload) {
  proto::ElementReader reader(payload);
  uint64_t count = 0;
  while (auto element = reader.next()) {
    if (count++ % 2 == 0 && !proto::decode_value(*element)) return false;
  }
  return reader.rest().empty() && count % 2 == 0;
}

}  // namespace

void on_get_logs(State& state, Client& client, const proto::GetLogs& message,
                 const proto::Now& now) {
  auto session = find_session(state, message.session);
  if (!session) return refuse(state, client, message.request, session.error());
  if (state.log_questions.size() >= kQuestionsMax) {
    return refuse(state, client, message.request,
                  {Code::kBusy, "too many questions about logs are being answered; ask again",
                   static_cast<uint32_t>(proto::kLogWaitMs)});
  }
  LogQuestion question;
  question.peer = client.peer;
  question.request = message.request;
  question.until_us = now.mono_us + kWaitUs;
  uint64_t tag = state.next_tag++;
  // Also those that serve it no more: what ended instances wrote last is kept.
  for (auto& [id, executor] : state.executors) {
    if (!executor.serves() || executor.peer.empty()) continue;
    question.missing.insert(id);
    send_now(state, executor, proto::ReadOutput{tag, (*session)->uid, message.task});
  }
  if (question.missing.empty()) return answer(state, question);
  state.log_questions.emplace(tag, std::move(question));
}

void on_output(State& state, const Executor& executor, const proto::Output& message) {
  auto found = state.log_questions.find(message.request);
  if (found == state.log_questions.end()) return;
  LogQuestion& question = found->second;
  if (question.missing.erase(executor.id) == 0) return;
  bool fits = question.payload.size() + message.payload.size() <= proto::kDeliverBytesMax;
  if (fits && is_rows(message.payload.view())) {
    question.payload += message.payload.view();
  } else {
    question.cut = true;
  }
  if (!question.missing.empty()) return;
  answer(state, question);
  state.log_questions.erase(found);
}

void end_log_questions(State& state, const proto::Now& now) {
  for (auto at = state.log_questions.begin(); at != state.log_questions.end();) {
    if (now.mono_us < at->second.until_us) break;  // asked in the order of their tags
    answer(state, at->second);
    at = state.log_questions.erase(at);
  }
}

}  // namespace flame::broker

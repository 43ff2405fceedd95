// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/progress.hpp"

#include <algorithm>

#include "broker/core/hands.hpp"
#include "broker/core/task_watches.hpp"
#include "proto/progress.hpp"
#include "proto/text.hpp"

namespace flame::broker {

void on_task_progress(State& state, Executor& executor, const proto::TaskProgress& message) {
  Session* session = state.session(message.uid);
  auto share = executor.shares.find(message.uid);
  if (session == nullptr || share == executor.shares.end()) return;
  for (const auto& said : message.reports) {
    if (hands_within(share->second, {said.task, 1}).empty()) continue;  // its result came first
    auto& report = session->progress[said.task];
    report.percent = std::min<uint64_t>(said.percent, 100);
    report.text = proto::printable(said.text, proto::kProgressTextBytesMax);
    report.reports++;
    on_progress_of(state, *session, said.task);
    if (session->watchers.empty()) continue;
    session->progress_due.insert(said.task);
    state.progress_due.insert(session->uid);
  }
}

void tell_progress(State& state) {
  for (auto uid : std::exchange(state.progress_due, {})) {
    Session* session = state.session(uid);
    if (session == nullptr) continue;
    std::vector<proto::ProgressReport> reports;
    for (auto task : std::exchange(session->progress_due, {})) {
      auto report = session->progress.find(task);
      if (report == session->progress.end()) continue;
      reports.push_back({task, report->second.percent, report->second.text});
    }
    auto messages = proto::in_messages<proto::Progress>(uid, std::move(reports));
    for (const auto& [peer, watcher] : session->watchers) {
      auto client = state.clients.find(peer);
      if (client == state.clients.end()) continue;
      for (const auto& message : messages) send_now(state, client->second, message);
    }
  }
}

}  // namespace flame::broker

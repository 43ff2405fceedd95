// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "executor/logs.hpp"

#include "proto/codec.hpp"
#include "proto/elements.hpp"
#include "proto/limits.hpp"

namespace flame::executor {

void Logs::ended(InstanceId id, const shims::OutputLog& log) {
  if (!log.empty()) ended_.emplace_back(id, log);
  if (ended_.size() > proto::kEndedLogsMax) ended_.pop_front();
}

LogsRead Logs::answer(const ReadLogs& question,
                      const std::map<InstanceId, const shims::OutputLog*>& running) const {
  std::string payload;
  auto add = [&](InstanceId id, const shims::OutputLog& log, bool runs) {
    auto text = log.text(question.uid, question.task);
    if (text.empty()) return;
    auto row = proto::Map{{"executor", executor_}, {"instance", uint64_t{id}}, {"running", runs}};
    proto::append_element(payload, proto::encode_value(row));
    proto::append_element(payload, text);
  };
  for (const auto& [id, log] : ended_) add(id, log, false);
  for (const auto& [id, log] : running) add(id, *log, true);
  return {question.request, proto::Bytes::own(std::move(payload))};
}

}  // namespace flame::executor

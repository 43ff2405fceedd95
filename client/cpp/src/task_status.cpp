// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// Session::tasks(), watch(), events() and logs(): rows become values.

#include <algorithm>
#include <tuple>

#include "client/cpp/src/client_impl.hpp"
#include "flame/session.hpp"
#include "proto/codec.hpp"
#include "proto/elements.hpp"
#include "proto/rows.hpp"
#include "proto/states.hpp"

namespace flame {

namespace {

using std::chrono::system_clock;

TaskState state_named(std::string_view name) {
  for (size_t i = 0; i < proto::kTaskStates.size(); i++) {
    if (proto::name_of(proto::kTaskStates[i]) == name) return static_cast<TaskState>(i);
  }
  throw Error(Code::kBadFrame,
              "the broker names a task state that this client does not know: " + std::string(name));
}

system_clock::time_point time_of(const proto::Value& row, const char* key) {
  return system_clock::time_point(std::chrono::milliseconds(row.number_at(key)));
}

// The element behind a row, if the row says that there is one.
std::optional<std::string> behind(const proto::Value& row, const char* key,
                                  proto::ElementReader& elements) {
  auto flag = row.find(key);
  if (flag == nullptr || flag->data != proto::Value(true).data) return std::nullopt;
  auto element = elements.next();
  if (!element) throw Error(Code::kBadFrame, "the broker's answer about tasks is cut");
  return std::string(*element);
}

TaskStatus status_of(const proto::Value& row, proto::ElementReader& elements) {
  TaskStatus task;
  task.task = static_cast<uint64_t>(row.number_at("id"));
  task.state = state_named(row.text_at("state"));
  task.executor = row.text_at("executor");
  task.attempt = static_cast<uint32_t>(row.number_at("attempt"));
  task.dispatched = time_of(row, "dispatched");
  task.started = time_of(row, "started");
  task.ended = time_of(row, "ended");
  task.code = static_cast<Code>(proto::code_named(row.text_at("code")));
  task.reason = row.text_at("reason");
  task.percent = static_cast<uint64_t>(row.number_at("percent"));
  task.progress = row.text_at("progress");
  task.version = row.text_at("version");
  task.input = behind(row, "input", elements);
  task.output = behind(row, "output", elements);
  return task;
}

}  // namespace

std::string_view to_string(TaskState state) {
  return proto::name_of(proto::kTaskStates.at(static_cast<size_t>(state)));
}

std::vector<TaskStatus> Session::tasks(const TaskQuery& query) const {
  proto::GetTasks ask{0, id(), std::max<uint64_t>(1, query.from), 0, "", query.payloads};
  for (TaskState state : query.states) {
    ask.states += static_cast<char>(proto::kTaskStates.at(static_cast<size_t>(state)));
  }
  std::vector<TaskStatus> tasks;
  while (ask.start != 0 && tasks.size() < query.limit) {
    ask.limit = query.limit - tasks.size();
    auto page = handle_->client->ask<proto::Tasks>(ask);
    proto::ElementReader elements(page.payload.view());
    while (auto row = elements.next()) {
      tasks.push_back(status_of(detail::value_or_raise(proto::decode_value(*row)), elements));
    }
    ask.start = page.next;
  }
  return tasks;
}

TaskStatus Session::watch(uint64_t number, const std::optional<TaskStatus>& known,
                          std::chrono::milliseconds time) const {
  proto::WatchTask ask{0, id(), number, known ? known->version : "", true};
  auto answer = handle_->client->ask<proto::Tasks>(std::move(ask), time);
  proto::ElementReader elements(answer.payload.view());
  auto row = elements.next();
  if (!row) throw Error(Code::kBadFrame, "the broker's answer about a task is empty");
  return status_of(detail::value_or_raise(proto::decode_value(*row)), elements);
}

std::vector<SessionEvent> Session::events() const {
  auto answer = handle_->client->ask<proto::Listing>(proto::View{0, "session", id()});
  std::vector<SessionEvent> events;
  for (const auto& row : detail::value_or_raise(proto::decode_rows(answer.payload.view()))) {
    auto found = row.find("events");
    if (found == nullptr || found->list() == nullptr) continue;
    for (const auto& event : *found->list()) {
      events.push_back({time_of(event, "at_ms"), std::string(event.text_at("code")),
                        std::string(event.text_at("text"))});
    }
  }
  return events;
}

std::vector<InstanceLog> Session::logs(uint64_t task) const {
  auto answer = handle_->client->ask<proto::Logs>(proto::GetLogs{0, id(), task});
  std::vector<InstanceLog> logs;
  proto::ElementReader elements(answer.payload.view());
  while (auto element = elements.next()) {
    auto row = detail::value_or_raise(proto::decode_value(*element));
    auto text = elements.next();
    if (!text) throw Error(Code::kBadFrame, "the broker's answer about logs is cut");
    auto running = row.find("running");
    logs.push_back({std::string(row.text_at("executor")),
                    static_cast<uint64_t>(row.number_at("instance")),
                    running != nullptr && running->data == proto::Value(true).data,
                    std::string(*text), std::string(row.text_at("error"))});
  }
  std::stable_sort(logs.begin(), logs.end(), [](const auto& a, const auto& b) {
    return std::tie(a.executor, a.instance) < std::tie(b.executor, b.instance);
  });
  return logs;
}

TaskStatus Session::task(uint64_t number) const {
  auto found = tasks({.from = number, .limit = 1, .payloads = true});
  if (!found.empty() && found.front().task == number) return std::move(found.front());
  throw Error(Code::kNotFound, "session " + id() + " has no task " + std::to_string(number) +
                                   ", or it is not recorded any more");
}

}  // namespace flame

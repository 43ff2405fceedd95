// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/task_questions.hpp"

#include <algorithm>

#include "broker/core/clients.hpp"
#include "broker/core/delivery.hpp"
#include "broker/core/task_watches.hpp"
#include "proto/elements.hpp"
#include "proto/rows.hpp"
#include "proto/text.hpp"

namespace flame::broker {

using proto::Code;
using proto::Error;
using proto::Run;
using proto::TaskId;
using proto::TaskState;

namespace {

// Letters looked at for a rare state: one short command, and as many as a question may cost.
constexpr uint64_t kLettersAtOnce = 64 * 1024;
constexpr uint64_t kLettersMax = 32 * kLettersAtOnce;

bool is_wanted(const TaskQuestion& question, char letter) {
  return question.states.empty() || question.states.find(letter) != std::string::npos;
}

template <class Read>
void ask_store(State& state, TaskQuestion question, Read read) {
  read.tag = state.next_tag++;
  state.task_questions.emplace(read.tag, std::move(question));
  state.actions.push_back(StoreRead{std::move(read)});
}

std::vector<Run> finished_of(const std::vector<TaskRow>& rows) {
  std::vector<Run> runs;
  for (const auto& row : rows) {
    if (!proto::is_final(row.state)) continue;
    if (!runs.empty() && runs.back().end() == row.id) {
      runs.back().count++;
    } else {
      runs.push_back({row.id, 1});
    }
  }
  return runs;
}

// The first row that is not before `id`.
std::vector<TaskRow>::iterator row_from(std::vector<TaskRow>& rows, TaskId id) {
  return std::lower_bound(rows.begin(), rows.end(), id,
                          [](const TaskRow& row, TaskId task) { return row.id < task; });
}

void cut_at(TaskQuestion& question, TaskId end) {
  auto from = row_from(question.rows, end);
  if (from == question.rows.end()) return;
  question.next = from->id;
  question.rows.erase(from, question.rows.end());
}

// Who has the tasks that run; known only here.
void add_executors(const State& state, const Session& session, std::vector<TaskRow>& rows) {
  for (const auto& id : session.at) {
    auto executor = state.executors.find(id);
    if (executor == state.executors.end()) continue;
    auto share = executor->second.shares.find(session.uid);
    if (share == executor->second.shares.end()) continue;
    for (const auto& [first, hand] : share->second.hands) {
      for (auto at = row_from(rows, hand.run.first); at != rows.end() && hand.run.contains(at->id);
           ++at) {
        if (at->state != TaskState::kRunning) continue;
        at->executor = id;
        at->attempt = hand.attempt;
        at->dispatched_ms = hand.dispatched_us / proto::kUsPerMs;
      }
    }
  }
}

// The frame that held element `index` of the run, as times.
void add_times(const proto::Results& results, uint64_t index, TaskRow& row) {
  for (const auto& frame : results.times) {
    if (index < frame.count) {
      row.started_ms = static_cast<int64_t>(results.base_ms + frame.start_us / 1000);
      row.ended_ms = static_cast<int64_t>(results.base_ms + frame.end_us / 1000);
      return;
    }
    index -= frame.count;
  }
  row.ended_ms = static_cast<int64_t>(results.base_ms);
}

void add_result(const proto::Results& results, std::vector<TaskRow>& rows) {
  bool cancelled = results.payload.empty();
  proto::ElementReader outputs(results.payload.view());
  auto row = row_from(rows, results.run.first);
  for (TaskId id = results.run.first; id < results.run.end() && row != rows.end(); id++) {
    auto output = outputs.next();
    if (row->id != id) continue;
    row->executor = results.executor;
    row->attempt = results.attempt;
    add_times(results, id - results.run.first, *row);
    if (output && row->state == TaskState::kSucceed) row->output = *output;
    for (const auto& failure : results.exceptions) {
      if (!cancelled && failure.id != id) continue;
      row->code = failure.code;
      row->reason = failure.reason;
      break;
    }
    ++row;
  }
}

// Where nothing that a row shows of a task's way became different, it is the same text.
std::string version_of(const TaskRow& row) {
  uint64_t reports = row.progress ? row.progress->reports : 0;
  return std::string(1, static_cast<char>(row.state)) + "." + std::to_string(row.attempt) + "." +
         std::to_string(reports);
}

// Final: none can follow. One that runs in nobody's hands has a result on its way to the store, or
// waits after a restart to be claimed: what comes next is told.
bool is_news(const TaskRow& row, const std::string& known) {
  bool in_between = row.state == TaskState::kRunning && row.attempt == 0;
  if (in_between && known.starts_with(static_cast<char>(row.state))) return false;
  return proto::is_final(row.state) || version_of(row) != known;
}

proto::Map map_of(const TaskRow& row, bool input, bool output) {
  proto::Map map = {{"id", row.id}, {"state", std::string(proto::name_of(row.state))}};
  map.emplace_back("version", version_of(row));
  if (!row.executor.empty()) map.emplace_back("executor", row.executor);
  if (row.attempt > 0) map.emplace_back("attempt", uint64_t{row.attempt});
  if (row.dispatched_ms > 0) map.emplace_back("dispatched", row.dispatched_ms);
  if (row.started_ms > 0) map.emplace_back("started", row.started_ms);
  if (row.ended_ms > 0) map.emplace_back("ended", row.ended_ms);
  if (row.code != Code::kOk) {
    map.emplace_back("code", std::string(proto::name_of(row.code)));
    map.emplace_back("reason", row.reason);
  }
  if (row.progress) {
    map.emplace_back("percent", row.progress->percent);
    map.emplace_back("progress", row.progress->text);
  }
  if (row.input) map.emplace_back("input_bytes", row.input->size());
  if (row.output) map.emplace_back("output_bytes", row.output->size());
  if (input) map.emplace_back("input", true);
  if (output) map.emplace_back("output", true);
  return map;
}

// What one message can carry: the first row in any case, without a payload that does not fit.
void answer(State& state, const TaskQuestion& question) {
  auto client = state.clients.find(question.peer);
  if (client == state.clients.end()) return;
  proto::Tasks tasks{question.request, question.next, {}};
  std::string payload;
  for (const auto& row : question.rows) {
    uint64_t room = proto::kPayloadBytesMax - proto::kReasonBytesMax;
    bool output = question.payloads && row.output && row.output->size() < room;
    bool input = question.payloads && row.input &&
                 row.input->size() < room - (output ? row.output->size() : 0);
    std::string next;
    proto::append_element(next, proto::encode_value(map_of(row, input, output)));
    if (input) proto::append_element(next, *row.input);
    if (output) proto::append_element(next, *row.output);
    if (!payload.empty() && payload.size() + next.size() > proto::kDeliverBytesMax) {
      tasks.next = row.id;
      break;
    }
    payload += next;
  }
  tasks.payload = proto::Bytes::own(std::move(payload));
  send_now(state, client->second, std::move(tasks));
}

void fail(State& state, const TaskQuestion& question, const Error& error) {
  auto client = state.clients.find(question.peer);
  if (client != state.clients.end()) refuse(state, client->second, question.request, error);
}

// ---- the steps: letters, outputs of what is finished, inputs

void end(State& state, Session& session, TaskQuestion question) {
  add_executors(state, session, question.rows);
  for (auto& row : question.rows) {
    auto report = session.progress.find(row.id);
    bool shown = report != session.progress.end() && row.state == TaskState::kRunning;
    if (shown) row.progress = report->second;
  }
  if (question.watch != 0) {
    // Not recorded yet: it will be.
    bool news = !question.rows.empty() && is_news(question.rows.front(), question.known);
    if (!end_watch(state, session, question, news)) return;
  }
  answer(state, question);
}

void ask_inputs(State& state, Session& session, TaskQuestion question) {
  if (!question.payloads) return end(state, session, std::move(question));
  ReadInputs read{0, session.name, {}, proto::kDeliverBytesMax};
  for (const auto& row : question.rows) {
    if (!read.runs.empty() && read.runs.back().contains(row.id)) continue;
    auto input = session.tasks.input_of(row.id);
    auto kept = session.tasks.kept_input_of(row.id);
    if (input != nullptr && input->batch <= state.confirmed_batch()) kept = input->run();
    if (kept) read.runs.push_back(*kept);
  }
  if (read.runs.empty()) return end(state, session, std::move(question));
  question.inputs = read.runs;
  ask_store(state, std::move(question), std::move(read));
}

void ask_outputs(State& state, Session& session, TaskQuestion question) {
  FindOutputs read{0, session.name, finished_of(question.rows), proto::kDeliverBytesMax};
  if (read.tasks.empty() || session.results_dropped) {
    return ask_inputs(state, session, std::move(question));
  }
  ask_store(state, std::move(question), std::move(read));
}

void fail_watch(State& state, Session& session, TaskQuestion question) {
  question.asked = {question.next, 1};
  if (end_watch(state, session, question, true)) {
    fail(state, question, no_letters(session, question.next));
  }
}

void ask_letters(State& state, Session& session, TaskQuestion question) {
  bool full = question.rows.size() >= question.limit;
  if (question.next != 0 && question.watch == 0)
    question.next = std::max(question.next, session.first_recorded());
  if (question.next > session.counters.tasks) question.next = 0;
  if (full || question.next == 0 || question.letters >= kLettersMax) {
    return ask_outputs(state, session, std::move(question));
  }
  if (question.next < session.first_recorded())
    return fail_watch(state, session, std::move(question));
  uint64_t count = question.states.empty() ? question.limit - question.rows.size() : kLettersAtOnce;
  TaskId end = std::min(
      {question.next + count, proto::segment_end(question.next), session.counters.tasks + 1});
  question.asked = {question.next, end - question.next};
  question.letters += question.asked.count;
  ReadStates read{0, session.name, question.asked};
  ask_store(state, std::move(question), std::move(read));
}

// The question of an answer and its session; null where somebody left meanwhile.
Session* resume(State& state, uint64_t tag, const Error& error, TaskQuestion& question) {
  auto asked = state.task_questions.extract(tag);
  if (asked.empty()) return nullptr;
  question = std::move(asked.mapped());
  Session* session = state.session(question.uid);
  bool watched = question.watch != 0;
  if (watched && (session == nullptr ||
                  (error.code != Code::kOk && !end_watch(state, *session, question, true)))) {
    return nullptr;  // its client left, or was told
  }
  if (error.code != Code::kOk) return fail(state, question, error), nullptr;
  if (session == nullptr) {
    fail(state, question, {Code::kGone, "the session was deleted meanwhile"});
  }
  return session;
}

}  // namespace

Error no_letters(const Session& session, TaskId task) {
  return {Code::kTrimmed, "task " + std::to_string(task) + " of session '" + session.name +
                              "' has ended, and its result was read and dropped"};
}

void ask_tasks(State& state, Session& session, TaskQuestion question) {
  ask_letters(state, session, std::move(question));
}

void on_get_tasks(State& state, Client& client, const proto::GetTasks& message) {
  auto session = find_session(state, message.session);
  if (!session) return refuse(state, client, message.request, session.error());
  for (char letter : message.states) {
    auto known = [letter](TaskState each) { return static_cast<char>(each) == letter; };
    if (std::any_of(proto::kTaskStates.begin(), proto::kTaskStates.end(), known)) continue;
    return refuse(state, client, message.request,
                  {Code::kBadRequest, "no task state '" + proto::printable({&letter, 1}, 4) +
                                          "'; there are P, R, S, F and C"});
  }
  if (state.task_questions.size() >= proto::kRequestsWaitingMax) {
    return refuse(
        state, client, message.request,
        {Code::kBusy, "too many questions about tasks are being answered; ask again", 100});
  }
  TaskQuestion question;
  question.peer = client.peer;
  question.request = message.request;
  question.uid = (*session)->uid;
  question.states = message.states;
  question.payloads = message.payloads;
  question.limit = message.limit == 0 ? proto::kTaskRowsMax
                                      : std::min<uint64_t>(message.limit, proto::kTaskRowsMax);
  question.next = std::max<TaskId>(1, message.start);
  ask_tasks(state, **session, std::move(question));
}

void on_states_read(State& state, const StatesRead& read) {
  TaskQuestion question;
  Session* session = resume(state, read.tag, read.error, question);
  if (session == nullptr) return;
  question.next = question.asked.first;
  for (char letter : read.letters) {
    if (question.rows.size() >= question.limit) break;
    if (is_wanted(question, letter)) {
      question.rows.push_back({question.next, static_cast<TaskState>(letter)});
    }
    question.next++;
  }
  // Not recorded yet, or not any more: there is nothing behind it either. Where the letters were
  // dropped meanwhile there is.
  bool all_seen = question.next == question.asked.first + read.letters.size() &&
                  question.asked.first >= session->first_recorded();
  if (all_seen && read.letters.size() < question.asked.count) question.next = 0;
  ask_letters(state, *session, std::move(question));
}

void on_outputs_found(State& state, OutputsFound read) {
  TaskQuestion question;
  Session* session = resume(state, read.tag, read.error, question);
  if (session == nullptr) return;
  cut_at(question, read.end);
  for (size_t i = 0; i < read.runs.size(); i++) {
    question.kept.push_back(read.values[i]);  // rows point into it
    add_result(from_store(*session, 0, read.runs[i], read.values[i]), question.rows);
  }
  ask_inputs(state, *session, std::move(question));
}

bool on_question_inputs(State& state, InputsRead& read) {
  if (!state.task_questions.contains(read.tag)) return false;
  TaskQuestion question;
  Session* session = resume(state, read.tag, read.error, question);
  if (session == nullptr) return true;
  if (read.runs.size() < question.inputs.size()) {
    cut_at(question, question.inputs[read.runs.size()].first);
  }
  for (size_t i = 0; i < read.runs.size(); i++) {
    auto elements = proto::decode_input(read.values[i].view(), read.runs[i].count);
    if (!elements) continue;  // finished meanwhile
    question.kept.push_back(read.values[i]);
    proto::ElementReader inputs(*elements);
    for (TaskId id = read.runs[i].first; auto input = inputs.next(); id++) {
      auto row = row_from(question.rows, id);
      if (row != question.rows.end() && row->id == id) row->input = *input;
    }
  }
  end(state, *session, std::move(question));
  return true;
}

}  // namespace flame::broker

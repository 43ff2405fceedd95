// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "flame/session.hpp"

#include "client/cpp/src/client_impl.hpp"
#include "proto/elements.hpp"
#include "proto/limits.hpp"
#include "proto/text.hpp"

namespace flame {

using detail::SessionHandle;

namespace {

SessionHandle& checked(const std::shared_ptr<SessionHandle>& handle) {
  if (handle == nullptr)
    throw Error(Code::kBadRequest, "this session is empty: open or create one");
  return *handle;
}

void check_size(std::string_view input) {
  if (input.size() > proto::kPayloadBytesMax) {
    throw Error(Code::kTooLarge, "an input of " + std::to_string(input.size()) +
                                     " bytes; at most " + std::to_string(proto::kPayloadBytesMax) +
                                     ". Larger data belongs in a store of its own");
  }
}

}  // namespace

// ---- values
// ---------------------------------------------------------------------------------------------

std::string Cursor::to_string() const {
  return lineage + ":" + std::to_string(index) + (session.empty() ? "" : "@" + session);
}

Cursor Cursor::parse(std::string_view text) {
  auto at = text.find('@');
  auto place = text.substr(0, at);
  auto session = at == text.npos ? "" : text.substr(at + 1);
  auto colon = place.rfind(':');
  auto number = proto::parse_number<uint64_t>(place.substr(colon == place.npos ? 0 : colon + 1));
  if (!number || (at != text.npos && session.empty())) {
    throw Error(Code::kBadRequest,
                "'" + proto::printable(text, 60) +
                    "' is no cursor; one looks like LINEAGE:INDEX@SESSION, and 0 is the begin");
  }
  return {colon == place.npos ? "" : std::string(place.substr(0, colon)), *number,
          std::string(session)};
}

bool Run::add(std::string_view input) {
  check_size(input);
  bool fits = count_ < proto::kRunTasksMax &&
              payload_.size() + proto::element_size(input.size()) <= proto::kRunBytesMax;
  if (!fits && count_ > 0) return false;
  proto::append_element(payload_, input);
  count_++;
  return true;
}

// ---- submit
// ---------------------------------------------------------------------------------------------

void detail::SessionHandle::need_results() {
  if (asked_for_results_.exchange(true)) return;
  auto* to = client->connection.get();
  to->post([to, listener = impl, uid = info.uid, index = info.done_end, name = reader] {
    listener->need_results(*to, uid, index, name);
  });
}

const std::string& Session::id() const { return checked(handle_).info.session; }

Future Session::submit(std::string_view input) {
  auto& handle = checked(handle_);
  check_size(input);
  handle.need_results();
  bool wake = false;
  auto place = handle.impl->queue().add(input, true, wake);
  if (wake) handle.connection().wake(handle.info.uid);
  return Future(place->state, place->index);
}

std::optional<Future> Session::try_submit(std::string_view input) {
  auto& handle = checked(handle_);
  check_size(input);
  handle.need_results();
  bool wake = false;
  auto place = handle.impl->queue().add(input, false, wake);
  if (!place) return std::nullopt;
  if (wake) handle.connection().wake(handle.info.uid);
  return Future(place->state, place->index);
}

std::vector<Future> Session::submit_many(std::span<const std::string> inputs) {
  auto& handle = checked(handle_);
  for (const auto& input : inputs) check_size(input);
  handle.need_results();
  std::vector<Future> futures;
  futures.reserve(inputs.size());
  for (size_t at = 0; at < inputs.size();) {
    detail::WaitingRun run{"", 0, std::make_shared<detail::RunState>(), false};
    for (; at < inputs.size() && run.count < proto::kRunTasksMax; at++, run.count++) {
      size_t size = run.payload.size() + proto::element_size(inputs[at].size());
      if (run.count > 0 && size > proto::kRunBytesMax) break;
      proto::append_element(run.payload, inputs[at]);
      futures.push_back(Future(run.state, run.state->add_task()));
    }
    bool wake = false;
    handle.impl->queue().add_run(std::move(run), wake);
    if (wake) handle.connection().wake(handle.info.uid);
  }
  return futures;
}

std::vector<std::string> Session::map(std::span<const std::string> inputs) {
  auto futures = submit_many(inputs);
  std::vector<std::string> outputs;
  outputs.reserve(futures.size());
  for (const auto& future : futures) outputs.push_back(future.get());
  return outputs;
}

void Session::submit_run(Run&& run) {
  auto& handle = checked(handle_);
  if (run.empty()) return;
  bool wake = false;
  handle.impl->queue().add_run({std::move(run.payload_), run.count_, nullptr, false}, wake);
  run = Run();
  if (wake) handle.connection().wake(handle.info.uid);
}

std::vector<TaskRange> Session::flush(std::chrono::milliseconds time) {
  return checked(handle_).impl->flush(time);
}

std::vector<TaskRange> Session::acknowledged() { return checked(handle_).impl->acknowledged(); }

// ---- results
// --------------------------------------------------------------------------------------------

ResultStream Session::results(ResultsOptions options) {
  auto& handle = checked(handle_);
  auto ours = id() + "#" + std::to_string(handle.info.uid);
  if (auto& named = options.after.session; named.empty()) {
    named = ours;
  } else if (named != ours) {
    throw Error(Code::kBadRequest, "the cursor is one of session " + proto::printable(named, 160) +
                                       ", and this is session " + ours +
                                       "; without a cursor it is read from its begin");
  }
  auto now = handle.client->ask<proto::SessionInfo>(proto::OpenSession{0, id()});
  auto welcome =
      detail::value_or_raise(handle.connection().wait_until_up(handle.client->request_ms));
  bool from_first = options.after.lineage.empty() && options.after.index == 0;
  if (from_first) options.after.index = now.done_first;
  if (options.after.lineage.empty()) options.after.lineage = welcome.lineage;
  if (options.only_new) options.after.index = now.done_end;
  auto* connection = &handle.connection();
  auto uid = handle.info.uid;
  auto queue = std::make_shared<detail::ResultQueue>(
      options.after, options.follow,
      [connection, uid](uint64_t index) { connection->consumed(uid, index); });
  queue->set_end(now.done_end, now.state == proto::SessionState::kClosed);
  connection->post([connection, uid, queue, listener = handle.impl,
                    reader = options.reader.empty() ? handle.reader : options.reader] {
    listener->read_into(*connection, uid, queue, reader);
  });
  return ResultStream(handle_, std::move(queue));
}

ResultStream::ResultStream(std::shared_ptr<detail::SessionHandle> handle,
                           std::shared_ptr<detail::ResultQueue> queue)
    : handle_(std::move(handle)), queue_(std::move(queue)) {}
ResultStream::~ResultStream() = default;
ResultStream::ResultStream(ResultStream&&) noexcept = default;
ResultStream& ResultStream::operator=(ResultStream&&) noexcept = default;

std::optional<TaskResult> ResultStream::next() { return queue_->next(std::nullopt); }
std::optional<TaskResult> ResultStream::next_for(std::chrono::milliseconds time) {
  return queue_->next(std::chrono::steady_clock::now() + time);
}
Cursor ResultStream::cursor() const { return queue_->cursor(); }

// ---- life
// -----------------------------------------------------------------------------------------------

SessionStatus detail::status_of(const proto::SessionInfo& info) {
  const auto& c = info.counters;
  return {info.session,
          info.spec.application,
          static_cast<SessionState>(info.state),
          c.tasks,
          c.pending,
          c.running,
          c.succeed,
          c.failed,
          c.cancelled,
          std::chrono::system_clock::time_point(std::chrono::milliseconds(info.created_ms))};
}

SessionStatus Session::status() const {
  auto& handle = checked(handle_);
  return detail::status_of(handle.client->ask<proto::SessionInfo>(proto::OpenSession{0, id()}));
}

SessionStatus Session::wait(std::chrono::milliseconds time) const {
  auto& client = *checked(handle_).client;
  return detail::status_of(
      client.ask<proto::SessionInfo>(proto::WaitSession{0, id(), false}, time));
}

CancelledTasks Session::cancel(std::span<const TaskRange> tasks, bool running) {
  proto::CancelTasks message{0, id(), {}, running};
  for (const auto& range : tasks) message.runs.push_back({range.first, range.count});
  auto answer = checked(handle_).client->ask<proto::Cancelled>(std::move(message));
  return {answer.pending, answer.running};
}

void Session::on_progress(std::function<void(const TaskProgress&)> callback) {
  checked(handle_).impl->set_on_progress(std::move(callback));
}

CommonData Session::common_data() const {
  auto answer = checked(handle_).client->ask<proto::CommonData>(proto::GetCommon{0, id()});
  return {std::string(answer.payload.view()), answer.version};
}

uint64_t Session::update_common_data(std::string_view data, uint64_t if_version) {
  proto::UpdateCommon message{0, id(), if_version, proto::Bytes::copy(data)};
  return checked(handle_).client->ask<proto::CommonData>(std::move(message)).version;
}

SessionStatus Session::close() {
  auto& handle = checked(handle_);
  return detail::status_of(handle.client->ask<proto::SessionInfo>(proto::CloseSession{0, id()}));
}

}  // namespace flame

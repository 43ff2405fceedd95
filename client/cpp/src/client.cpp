// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "flame/client.hpp"

#include "client/cpp/src/client_impl.hpp"
#include "client/cpp/src/endpoint.hpp"
#include "proto/application.hpp"
#include "proto/limits.hpp"
#include "proto/rows.hpp"

namespace flame {

using detail::ClientImpl;
using detail::SessionHandle;
using detail::SessionImpl;

namespace {

proto::CreateSession message_of(const SessionOptions& options, bool open_or_create) {
  if (options.common_data.size() > proto::kCommonBytesMax) {
    throw Error(Code::kTooLarge, "common data of " + std::to_string(options.common_data.size()) +
                                     " bytes; at most " + std::to_string(proto::kCommonBytesMax));
  }
  proto::CreateSession message;
  message.session = options.session;
  message.open_or_create = open_or_create;
  message.spec.application = options.application;
  message.spec.min_instances = options.min_instances;
  message.spec.max_instances = options.max_instances;
  message.spec.priority = options.priority;
  message.spec.batch_size = options.batch_size;
  message.spec.durability = static_cast<proto::Durability>(options.durability);
  message.spec.retention = options.retention;
  message.spec.results_ttl_ms =
      static_cast<uint64_t>(std::max<int64_t>(0, options.results_ttl.count()));
  message.spec.resources = options.resources;
  message.payload = proto::Bytes::copy(options.common_data);
  return message;
}

// Two handles of one session in one client share what stands behind them.
std::shared_ptr<SessionHandle> handle_of(const std::shared_ptr<ClientImpl>& client,
                                         const std::shared_ptr<SessionImpl>& listener,
                                         proto::Result<client::Connection::Opened> result,
                                         const std::string& reader) {
  auto opened = detail::value_or_raise(std::move(result));
  std::lock_guard lock(client->sessions_mutex);
  auto& known = client->sessions[opened.info.uid];
  if (opened.second) {
    if (auto handle = known.lock()) return handle;
    throw Error(Code::kBusy, "the session's last handle is just being dropped; open it again", 10);
  }
  auto handle = std::make_shared<SessionHandle>(client, listener, opened.info, reader);
  known = handle;
  return handle;
}

uint64_t number_of(const proto::Value& row, const char* key) {
  return static_cast<uint64_t>(std::max<int64_t>(0, row.number_at(key)));
}

SessionStatus session_status(const proto::Value& row) {
  SessionStatus status;
  status.session = row.text_at("id");
  status.application = row.text_at("application");
  if (auto state = proto::session_state_from(row.text_at("state"))) {
    status.state = static_cast<SessionState>(*state);
  }
  status.tasks = number_of(row, "tasks");
  status.pending = number_of(row, "pending");
  status.running = number_of(row, "running");
  status.succeed = number_of(row, "succeed");
  status.failed = number_of(row, "failed");
  status.cancelled = number_of(row, "cancelled");
  status.created =
      std::chrono::system_clock::time_point(std::chrono::milliseconds(number_of(row, "created")));
  return status;
}

ApplicationOptions options_of(const proto::Application& application) {
  ApplicationOptions options;
  options.name = application.name;
  options.shim = application.shim;
  options.command = application.command;
  options.arguments = application.arguments;
  options.environment = application.environment;
  options.working_directory = application.working_directory;
  options.description = application.description;
  options.labels = application.labels;
  options.max_instances = application.max_instances;
  options.max_attempts = application.max_attempts;
  options.task_timeout = std::chrono::milliseconds(application.task_timeout_ms);
  options.reuse = application.reuse;
  options.concurrency = application.concurrency;
  const auto& rest = application.rest;
  options.rest = {rest.url, rest.health, rest.content_type, rest.batch, rest.ca_file};
  return options;
}

proto::Application application_of(const ApplicationOptions& options) {
  proto::Application application;
  application.name = options.name;
  application.shim = options.shim;
  application.command = options.command;
  application.arguments = options.arguments;
  application.environment = options.environment;
  application.working_directory = options.working_directory;
  application.description = options.description;
  application.labels = options.labels;
  if (options.max_instances > 0) application.max_instances = options.max_instances;
  if (options.max_attempts > 0) application.max_attempts = options.max_attempts;
  application.task_timeout_ms =
      static_cast<uint64_t>(std::max<int64_t>(0, options.task_timeout.count()));
  application.reuse = options.reuse.value_or(proto::reuses_by_default(options.shim));
  if (options.concurrency > 0) application.concurrency = options.concurrency;
  auto& rest = application.rest;
  rest.url = options.rest.url;
  if (!options.rest.health.empty()) rest.health = options.rest.health;
  if (!options.rest.content_type.empty()) rest.content_type = options.rest.content_type;
  rest.batch = options.rest.batch;
  rest.ca_file = options.rest.ca_file;
  return application;
}

proto::List rows_of(ClientImpl& client, const std::string& kind) {
  auto listing = client.ask<proto::Listing>(proto::ListKind{0, kind, false});
  return detail::value_or_raise(proto::decode_rows(listing.payload.view()));
}

}  // namespace

Client Client::connect(const std::string& endpoint, const ClientOptions& options) {
  auto broker = detail::value_or_raise(client::find_broker({endpoint, options.cluster}));
  auto connection = std::make_unique<client::Connection>(broker.endpoint, broker.cluster);
  auto timeout_ms = static_cast<uint64_t>(std::max<int64_t>(0, options.connect_timeout.count()));
  detail::value_or_raise(connection->wait_until_up(timeout_ms));
  return Client(std::make_shared<ClientImpl>(std::move(connection), options.request_timeout));
}

const std::string& Client::endpoint() const { return impl_->connection->endpoint(); }

Session Client::create_session(const SessionOptions& options) {
  auto listener = std::make_shared<SessionImpl>();
  auto opened =
      impl_->connection->create_session(message_of(options, false), listener, impl_->request_ms);
  return Session(handle_of(impl_, listener, std::move(opened), options.reader));
}

Session Client::open_or_create_session(const SessionOptions& options) {
  auto listener = std::make_shared<SessionImpl>();
  auto opened =
      impl_->connection->create_session(message_of(options, true), listener, impl_->request_ms);
  return Session(handle_of(impl_, listener, std::move(opened), options.reader));
}

Session Client::open_session(const std::string& session) {
  auto listener = std::make_shared<SessionImpl>();
  auto opened = impl_->connection->open_session(session, listener, impl_->request_ms);
  return Session(handle_of(impl_, listener, std::move(opened), ""));
}

std::vector<SessionStatus> Client::list_sessions() {
  auto rows = rows_of(*impl_, "session");
  std::vector<SessionStatus> sessions;
  for (const auto& row : rows) sessions.push_back(session_status(row));
  return sessions;
}

std::vector<ApplicationOptions> Client::list_applications() {
  auto rows = rows_of(*impl_, "application");
  std::vector<ApplicationOptions> applications;
  for (const auto& row : rows) {
    if (auto application = proto::application_from(row))
      applications.push_back(options_of(*application));
  }
  return applications;
}

std::vector<ExecutorStatus> Client::list_executors() {
  auto rows = rows_of(*impl_, "executor");
  std::vector<ExecutorStatus> executors;
  for (const auto& row : rows) {
    executors.push_back({std::string(row.text_at("id")), std::string(row.text_at("state")),
                         std::string(row.text_at("address")), number_of(row, "slots"),
                         std::string(row.text_at("hold")), std::string(row.text_at("provider"))});
  }
  return executors;
}

std::vector<NodeStatus> Client::list_nodes() {
  std::vector<NodeStatus> nodes;
  for (const auto& row : rows_of(*impl_, "node")) {
    nodes.push_back({std::string(row.text_at("id")), number_of(row, "executors"),
                     number_of(row, "slots"), number_of(row, "bound"), number_of(row, "busy")});
  }
  return nodes;
}

void Client::cordon_executor(const std::string& executor) {
  impl_->ask<proto::Ok>(proto::HoldExecutor{0, executor, proto::Hold::kCordoned});
}

void Client::uncordon_executor(const std::string& executor) {
  impl_->ask<proto::Ok>(proto::HoldExecutor{0, executor, proto::Hold::kNone});
}

void Client::drain_executor(const std::string& executor) {
  impl_->ask<proto::Ok>(proto::HoldExecutor{0, executor, proto::Hold::kDrained});
}

SessionStatus Client::close_session(const std::string& session) {
  return detail::status_of(impl_->ask<proto::SessionInfo>(proto::CloseSession{0, session}));
}

void Client::delete_session(const std::string& session, bool force) {
  impl_->ask<proto::Ok>(proto::DeleteSession{0, session, force});
}

void Client::register_application(const ApplicationOptions& options) {
  impl_->ask<proto::Ok>(proto::RegisterApplication{0, proto::to_value(application_of(options))});
}

void Client::update_application(const std::string& name, const ApplicationChanges& changes) {
  proto::Map map;
  auto add = [&](const char* field, const auto& value) {
    if (value) map.emplace_back(field, proto::Value(*value));
  };
  auto add_texts = [&](const char* field, const auto& texts) {
    if (texts) map.emplace_back(field, proto::List(texts->begin(), texts->end()));
  };
  auto add_ms = [&](const char* field, const auto& time) {
    if (time) map.emplace_back(field, proto::Value(time->count()));
  };
  add("command", changes.command);
  add_texts("arguments", changes.arguments);
  if (changes.environment) {
    map.emplace_back("environments",
                     proto::Map(changes.environment->begin(), changes.environment->end()));
  }
  add("working_directory", changes.working_directory);
  add("image", changes.image);
  add("description", changes.description);
  add_texts("labels", changes.labels);
  add("max_instances", changes.max_instances);
  add("max_attempts", changes.max_attempts);
  add_ms("task_timeout_ms", changes.task_timeout);
  add_ms("delay_release_ms", changes.delay_release);
  if (changes.reuse) map.emplace_back("reuse", *changes.reuse ? "always" : "never");
  impl_->ask<proto::Ok>(proto::UpdateApplication{0, name, proto::Value(std::move(map))});
}

void Client::unregister_application(const std::string& name) {
  impl_->ask<proto::Ok>(proto::UnregisterApplication{0, name});
}

}  // namespace flame

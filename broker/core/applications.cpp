// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "broker/core/applications.hpp"

#include "broker/core/contexts.hpp"
#include "proto/codec.hpp"
#include "proto/text.hpp"
#include "runtime/assert.hpp"

namespace flame::broker {

using proto::Code;
using proto::Error;

Error no_application(const State& state, const std::string& name) {
  std::vector<std::string> names;
  for (const auto& [known, unused] : state.applications) names.push_back(known);
  auto near = proto::nearest(name, names);
  return {Code::kNotFound, "no application '" + proto::printable(name, 60) + "'" +
                               (near.empty() ? "; flmctl list application shows all"
                                             : "; did you mean '" + std::string(near) + "'?")};
}

namespace {

// A session of it that is not over.
const Session* user_of(const State& state, const std::string& name) {
  for (const auto& [uid, session] : state.sessions) {
    if (session->spec.application == name && !session->finished()) return session.get();
  }
  return nullptr;
}

Error in_use(const std::string& name, const Session& session, const char* or_else) {
  return {Code::kWrongState, "application '" + name + "' is in use by session '" + session.name +
                                 "'; close it first" + or_else};
}

void put(State& state, proto::Application application) {
  state.ops.push_back(
      PutApplication{application.name, proto::encode_value(proto::to_value(application))});
  std::string name = application.name;
  state.applications[name] = std::move(application);
}

}  // namespace

proto::Status register_application(State& state, const proto::Value& value) {
  auto application = proto::application_from(value);
  if (!application) return application.error();
  auto found = state.applications.find(application->name);
  if (found != state.applications.end()) {
    if (found->second == *application) return {};
    if (auto session = user_of(state, application->name)) {
      return in_use(application->name, *session, ", or change single fields with flmctl update");
    }
  }
  put(state, std::move(*application));
  return {};
}

proto::Status update_application(State& state, const std::string& name,
                                 const proto::Value& changes) {
  auto found = state.applications.find(name);
  if (found == state.applications.end()) return no_application(state, name);
  if (changes.map() == nullptr) {
    return Error{Code::kBadRequest, "changes of an application must be a map of fields"};
  }
  proto::Map fields = *proto::to_value(found->second).map();
  for (const auto& change : *changes.map()) {
    const auto& field = change.first;
    const auto& value = change.second;
    if (field == "name" && value.data != proto::Value(name).data) {
      return Error{Code::kBadRequest, "an application keeps its name; register another one"};
    }
    std::erase_if(fields, [&](const auto& entry) { return entry.first == field; });
    if (!value.is_null()) fields.emplace_back(field, value);
  }
  auto application = proto::application_from(proto::Value(std::move(fields)));
  if (!application) return application.error();
  if (*application == found->second) return {};
  put(state, std::move(*application));
  for (auto& [uid, session] : state.sessions) {
    if (session->spec.application == name && !session->finished()) renew_context(state, *session);
  }
  state.plan_due = true;  // max_instances and the like
  return {};
}

proto::Status unregister_application(State& state, const std::string& name) {
  if (!state.applications.contains(name)) return no_application(state, name);
  if (auto session = user_of(state, name)) return in_use(name, *session, "");
  state.ops.push_back(DropApplication{name});
  make_room(state);
  state.applications.erase(name);
  state.demand_written.erase(name);
  state.run_times.erase(name);
  return {};
}

void register_builtins(State& state) {
  auto of = [](const char* shim, std::string name, std::string command,
               std::vector<std::string> arguments, std::string text) {
    proto::Application a;
    a.name = std::move(name);
    a.shim = shim;
    a.command = std::move(command);
    a.arguments = std::move(arguments);
    a.description = std::move(text);
    return a;
  };
  const proto::Application builtins[] = {
      of("native", "echo", "flame-service", {"echo"}, "gives back its input"),
      of("native", "flmping", "flame-service", {"flmping"}, "the service of flmping"),
      of("grpc", "flmping-grpc", "flame-grpc-service", {}, "flmping with a call of gRPC per task"),
      of("shell", "flmping-shell", "/bin/cat", {}, "flmping with a process per task"),
      of("shell", "flmexec", "/bin/sh", {"-s"}, "runs its input as a shell script"),
  };
  for (const auto& application : builtins) {
    if (!state.applications.contains(application.name)) {
      auto status = register_application(state, proto::to_value(application));
      FLAME_ASSERT(status.has_value());
    }
  }
}

}  // namespace flame::broker

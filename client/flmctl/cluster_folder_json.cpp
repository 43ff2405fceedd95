// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors

// cluster.json and the supervisor's answers: one shape, here and nowhere else.

#include <nlohmann/json.hpp>

#include "client/flmctl/cluster_folder.hpp"
#include "client/flmctl/supervisor_messages.hpp"

namespace flame::flmctl {

using Json = nlohmann::ordered_json;
using proto::Code;
using proto::Error;

namespace {

Json json_of(const ProcessStatus& process) {
  return {{"name", process.name},
          {"state", process.state},
          {"pid", process.pid},
          {"start_ticks", process.start_ticks},
          {"started_ms", process.started_ms},
          {"restarts", process.restarts},
          {"last_exit", process.last_exit},
          {"application", process.application}};
}

Json json_of(const UpSettings& settings) {
  return {{"port", settings.port},
          {"slots", settings.slots},
          {"executors", settings.executors},
          {"redis", settings.redis},
          {"appendfsync", settings.appendfsync},
          {"autoscale", settings.autoscale},
          {"max_executors", settings.max_executors}};
}

Json json_of(const ClusterStatus& status) {
  Json pids = Json::object();
  if (status.supervisor_pid != 0) pids["supervisor"] = status.supervisor_pid;
  Json processes = Json::array();
  for (const auto& process : status.processes) {
    if (process.pid != 0) pids[process.name] = process.pid;
    processes.push_back(json_of(process));
  }
  return {{"state", status.state},
          {"version", status.version},
          {"data", status.data},
          {"endpoint", status.endpoint},
          {"executors_endpoint", status.executors_endpoint},
          {"http", status.http},
          {"redis", status.redis},
          {"ring", status.ring},
          {"boot_id", status.boot_id},
          {"pids", pids},
          {"settings", json_of(status.settings)},
          {"processes", processes}};
}

template <class Value>
void take(const Json& json, const char* key, Value& out) {
  const auto& object = json.get_ref<const Json::object_t&>();  // throws for anything else
  if (auto found = object.find(key); found != object.end()) found->second.get_to(out);
}

ClusterStatus cluster_of(const Json& json) {
  ClusterStatus status;
  take(json, "state", status.state);
  take(json, "version", status.version);
  take(json, "data", status.data);
  take(json, "endpoint", status.endpoint);
  take(json, "executors_endpoint", status.executors_endpoint);
  take(json, "http", status.http);
  take(json, "redis", status.redis);
  take(json, "ring", status.ring);
  take(json, "boot_id", status.boot_id);
  if (json.contains("pids")) take(json["pids"], "supervisor", status.supervisor_pid);
  Json settings = json.value("settings", Json::object());
  take(settings, "port", status.settings.port);
  take(settings, "slots", status.settings.slots);
  take(settings, "executors", status.settings.executors);
  take(settings, "redis", status.settings.redis);
  take(settings, "appendfsync", status.settings.appendfsync);
  take(settings, "autoscale", status.settings.autoscale);
  take(settings, "max_executors", status.settings.max_executors);
  for (const auto& entry : json.value("processes", Json::array())) {
    auto& process = status.processes.emplace_back();
    take(entry, "name", process.name);
    take(entry, "state", process.state);
    take(entry, "pid", process.pid);
    take(entry, "start_ticks", process.start_ticks);
    take(entry, "started_ms", process.started_ms);
    take(entry, "restarts", process.restarts);
    take(entry, "last_exit", process.last_exit);
    take(entry, "application", process.application);
  }
  return status;
}

// nlohmann throws; nothing above this file sees it.
template <class Out, class Read>
proto::Result<Out> guarded(std::string_view text, Read read) {
  try {
    return read(Json::parse(text));
  } catch (const Json::exception& error) {
    return Error{Code::kBadRequest, std::string("not the JSON that was expected: ") + error.what()};
  }
}

}  // namespace

std::string json_text(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string to_json(const ClusterStatus& status, int indent) {
  return json_of(status).dump(indent, ' ', false, Json::error_handler_t::replace);
}

proto::Result<ClusterStatus> cluster_from_json(std::string_view text) {
  return guarded<ClusterStatus>(text, cluster_of);
}

std::string to_json(const ControlRequest& request) {
  Json json = {{"verb", request.verb}};
  if (request.executors) json["executors"] = *request.executors;
  if (request.port) json["port"] = *request.port;
  if (request.slots) json["slots"] = *request.slots;
  if (request.redis) json["redis"] = *request.redis;
  if (request.appendfsync) json["appendfsync"] = *request.appendfsync;
  if (request.autoscale) json["autoscale"] = *request.autoscale;
  if (request.max_executors) json["max_executors"] = *request.max_executors;
  if (request.application) json["application"] = *request.application;
  if (request.add) json["add"] = *request.add;
  if (!request.leave.empty()) json["leave"] = request.leave;
  return json.dump();
}

proto::Result<ControlRequest> request_from_json(std::string_view text) {
  return guarded<ControlRequest>(text, [](const Json& json) {
    ControlRequest request;
    take(json, "verb", request.verb);
    if (json.contains("executors")) request.executors = json["executors"].get<uint64_t>();
    if (json.contains("port")) request.port = json["port"].get<uint16_t>();
    if (json.contains("slots")) request.slots = json["slots"].get<uint64_t>();
    if (json.contains("redis")) request.redis = json["redis"].get<std::string>();
    if (json.contains("appendfsync")) request.appendfsync = json["appendfsync"].get<std::string>();
    if (json.contains("autoscale")) request.autoscale = json["autoscale"].get<bool>();
    if (json.contains("max_executors"))
      request.max_executors = json["max_executors"].get<uint64_t>();
    if (json.contains("application")) request.application = json["application"].get<std::string>();
    if (json.contains("add")) request.add = json["add"].get<uint64_t>();
    take(json, "leave", request.leave);
    return request;
  });
}

std::string to_json(const ControlReply& reply) {
  return Json{{"result", reply.result},
              {"message", reply.message},
              {"lines", reply.lines},
              {"status", json_of(reply.status)}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

proto::Result<ControlReply> reply_from_json(std::string_view text) {
  return guarded<ControlReply>(text, [](const Json& json) {
    ControlReply reply;
    take(json, "result", reply.result);
    take(json, "message", reply.message);
    take(json, "lines", reply.lines);
    if (json.contains("status")) reply.status = cluster_of(json["status"]);
    return reply;
  });
}

proto::Result<ReadyFile> ready_file_from_json(std::string_view text) {
  return guarded<ReadyFile>(text, [](const Json& json) {
    ReadyFile ready;
    take(json, "endpoint", ready.endpoint);
    take(json, "executors", ready.executors);
    take(json, "http", ready.http);
    take(json, "ring", ready.ring);
    take(json, "replaced", ready.replaced);
    take(json, "pid", ready.pid);
    return ready;
  });
}

proto::Result<std::vector<std::string>> executors_from_json(std::string_view text) {
  return guarded<std::vector<std::string>>(text, [](const Json& json) {
    std::vector<std::string> ids;
    for (const auto& executor : json) {
      if (executor.value("state", "") == "Connected") ids.push_back(executor.value("id", ""));
    }
    return ids;
  });
}

}  // namespace flame::flmctl

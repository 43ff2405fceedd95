// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <cstdio>

#include "client/flmctl/files.hpp"
#include "client/flmctl/verbs.hpp"
#include "client/flmctl/yaml.hpp"
#include "proto/limits.hpp"
#include "proto/text.hpp"

namespace flame::flmctl {

using proto::Code;
using proto::Error;
using proto::Map;
using proto::Value;

namespace {

/// `max_instances=8`, the value as YAML has it.
proto::Result<std::pair<std::string, Value>> field_from(const std::string& word) {
  auto equals = word.find('=');
  if (equals == std::string::npos || equals == 0) {
    return Error{Code::kBadRequest,
                 "'" + proto::printable(word, 60) + "' is no FIELD=VALUE, as max_instances=8"};
  }
  auto name = word.substr(0, equals);
  auto parsed = parse_yaml("value: " + word.substr(equals + 1));
  const Value* value = parsed && parsed->size() == 1 ? parsed->front().find("value") : nullptr;
  if (value == nullptr) {
    return Error{Code::kBadRequest, "the value of " + proto::printable(name, 60) +
                                        " is no YAML; put a text into quotes"};
  }
  return std::pair(name, *value);
}

/// The spec of a manifest, or a plain map of fields.
proto::Result<Map> fields_of_file(const std::string& path) {
  auto documents = read_yaml(path);
  if (!documents) return documents.error();
  const Value* fields = documents->size() == 1 ? &documents->front() : nullptr;
  if (fields != nullptr && fields->find("spec") != nullptr) fields = fields->find("spec");
  if (fields == nullptr || fields->map() == nullptr) {
    return Error{Code::kBadRequest,
                 path + " must hold one map of the fields that change, or one manifest"};
  }
  return *fields->map();
}

int update_application(Command& command, const Target& target) {
  Map changes;
  if (auto path = command.options().text("file"); !path.empty()) {
    auto fields = fields_of_file(path);
    if (!fields) return command.fail(fields.error());
    changes = std::move(*fields);
  }
  for (const auto& word : target.rest) {
    auto field = field_from(word);
    if (!field) return command.fail_usage(field.error());
    changes.push_back(std::move(*field));
  }
  if (changes.empty()) {
    return command.fail_usage(
        {Code::kBadRequest, "what changes? flmctl update NAME max_instances=8, or -f FILE"});
  }
  auto ok = command.ask<proto::Ok>(proto::UpdateApplication{0, target.id, Value(changes)});
  if (!ok) return command.fail(ok.error());
  auto done_text = "Application <" + target.id + "> was updated.";
  std::fputs(show_message(done_text, *command.format()).c_str(), stdout);
  return tools::kExitOk;
}

int update_session(Command& command, const Target& target) {
  auto path = command.options().text("common-data");
  if (path.empty() || !target.rest.empty()) {
    return command.fail_usage(
        {Code::kBadRequest, "of a session the common data can be changed: --common-data FILE"});
  }
  auto common = read_file(path, proto::kCommonBytesMax);
  if (!common) return command.fail(common.error());
  auto done = command.ask<proto::CommonData>(
      proto::UpdateCommon{0, target.id, 0, proto::Bytes::own(std::move(*common))});
  if (!done) return command.fail(done.error());
  auto text =
      "Session <" + target.id + ">: common data is version " + std::to_string(done->version) + ".";
  std::fputs(show_message(text, *command.format()).c_str(), stdout);
  return tools::kExitOk;
}

}  // namespace

int run_update(Command& command) {
  auto target = command.target(Kind::kApplication);
  if (!target) return command.fail_usage(target.error());
  if (target->id.empty()) {
    return command.fail_usage(
        {Code::kBadRequest, "which one? flmctl update APPLICATION ..., or update session ID ..."});
  }
  if (target->kind == Kind::kApplication) return update_application(command, *target);
  if (target->kind == Kind::kSession) return update_session(command, *target);
  return command.fail_usage({Code::kBadRequest, "update takes an application or a session"});
}

}  // namespace flame::flmctl

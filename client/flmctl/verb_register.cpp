// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include <cstdio>

#include "client/flmctl/verbs.hpp"
#include "client/flmctl/yaml.hpp"
#include "proto/application.hpp"

namespace flame::flmctl {

using proto::Code;
using proto::Error;

namespace {

/// Every application of the files; all are checked before the first is registered.
proto::Result<std::vector<proto::Application>> read_manifests(
    const std::vector<std::string>& paths) {
  std::vector<proto::Application> applications;
  for (const auto& path : paths) {
    auto documents = read_yaml(path);
    if (!documents) return documents.error();
    if (documents->empty()) {
      return Error{Code::kBadRequest, path + " holds no manifest; see docs/applications.md"};
    }
    for (size_t i = 0; i < documents->size(); i++) {
      auto application = proto::application_from_manifest((*documents)[i]);
      if (!application) {
        std::string where =
            documents->size() > 1 ? " (document " + std::to_string(i + 1) + ")" : "";
        return Error{application.error().code, path + where + ": " + application.error().message};
      }
      applications.push_back(std::move(*application));
    }
  }
  return applications;
}

}  // namespace

int run_register(Command& command) {
  auto paths = command.options().positional();
  if (command.options().given("file")) paths.insert(paths.begin(), command.options().text("file"));
  if (paths.empty()) {
    return command.fail_usage({Code::kBadRequest, "which manifest? Give -f FILE, or - for stdin"});
  }
  auto applications = read_manifests(paths);
  if (!applications) return command.fail(applications.error());
  for (const auto& application : *applications) {
    auto ok = command.ask<proto::Ok>(proto::RegisterApplication{0, proto::to_value(application)});
    if (!ok) {
      Error error = ok.error();
      error.message = "application '" + application.name + "': " + error.message;
      return command.fail(error);
    }
    auto done = "Application <" + application.name + "> was registered.";
    std::fputs(show_message(done, *command.format()).c_str(), stdout);
  }
  return tools::kExitOk;
}

}  // namespace flame::flmctl

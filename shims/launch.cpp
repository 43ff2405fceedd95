// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "shims/launch.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "proto/text.hpp"

namespace flame::shims {

namespace {

// What a service inherits. A list of what is allowed, because what is secret cannot be listed: the
// executor's own environment may hold FLAME_REDIS_URL, cloud keys and tokens.
constexpr std::array<std::string_view, 16> kInherited = {
    "PATH",         "HOME",         "USER",
    "LOGNAME",      "LANG",         "LANGUAGE",
    "TZ",           "TMPDIR",       "LD_LIBRARY_PATH",
    "PYTHONPATH",   "VIRTUAL_ENV",  "SSL_CERT_FILE",
    "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS",
    "TSAN_OPTIONS"};

bool inherited(std::string_view name) {
  return name.substr(0, 3) == "LC_" ||
         std::find(kInherited.begin(), kInherited.end(), name) != kInherited.end();
}

using Environment = std::vector<std::pair<std::string, std::string>>;

void assign(Environment& environment, const std::string& name, const std::string& value) {
  for (auto& [known, old] : environment) {
    if (known == name) {
      old = value;
      return;
    }
  }
  environment.emplace_back(name, value);
}

Environment make_environment(const proto::Application& application, const LaunchPlace& place) {
  Environment environment;
  for (char** entry = environ; *entry != nullptr; entry++) {
    std::string_view text = *entry;
    auto equals = text.find('=');
    if (equals == std::string_view::npos || !inherited(text.substr(0, equals))) continue;
    environment.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  if (!place.endpoint.empty()) environment.emplace_back("FLAME_ENDPOINT", place.endpoint);
  if (!place.cluster.empty()) environment.emplace_back("FLAME_CLUSTER", place.cluster);
  for (const auto& [name, value] : application.environment) assign(environment, name, value);
  assign(environment, "FLAME_APPLICATION", application.name);
  return environment;
}

bool is_program(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && access(path.c_str(), X_OK) == 0;
}

std::string in_search_path(const std::string& command, std::string_view path) {
  while (!path.empty()) {
    auto colon = std::min(path.find(':'), path.size());
    auto folder = path.substr(0, colon);
    std::string candidate = (folder.empty() ? "." : std::string(folder)) + "/" + command;
    if (is_program(candidate)) return candidate;
    path.remove_prefix(std::min(colon + 1, path.size()));
  }
  return "";
}

proto::Result<std::string> find_program(const std::string& command, const Environment& environment,
                                        const LaunchPlace& place, const std::string& directory) {
  std::string found, missing;
  if (command.find('/') != std::string::npos) {
    found = missing = command[0] == '/' ? command : directory + "/" + command;
    if (!is_program(found)) found.clear();
  } else {
    missing = command;
    for (const auto& [name, value] : environment) {
      if (name == "PATH") found = in_search_path(command, value), missing += " in PATH " + value;
    }
    if (found.empty()) found = in_search_path(command, place.program_directory);
    missing += " and " + place.program_directory;
  }
  if (!found.empty()) return found;
  return proto::Error{proto::Code::kTaskServiceFailed,
                      "no executable " + proto::printable(missing, 1000) +
                          " where this executor is: install it there or correct the "
                          "application's command"};
}

proto::Result<std::string> make_directory(const proto::Application& application,
                                          const LaunchPlace& place) {
  if (!application.working_directory.empty()) return application.working_directory;
  std::string directory = place.work_directory + "/" + application.name;
  if (mkdir(directory.c_str(), 0700) == 0 || errno == EEXIST) return directory;
  return proto::Error{proto::Code::kTaskServiceFailed, "cannot make the working directory " +
                                                           directory + ": " + std::strerror(errno)};
}

}  // namespace

std::string program_directory() {
  std::array<char, 4096> path;
  ssize_t size = readlink("/proc/self/exe", path.data(), path.size());
  if (size <= 0) return ".";
  std::string text(path.data(), static_cast<size_t>(size));
  return text.substr(0, text.rfind('/'));
}

proto::Result<Launch> make_launch(const proto::Application& application, const LaunchPlace& place) {
  Launch launch;
  auto directory = make_directory(application, place);
  if (!directory) return directory.error();
  launch.directory = *directory;
  launch.guard = place.guard;
  launch.socket_parent = place.work_directory;
  launch.grpc = place.grpc;
  launch.http = place.http;
  launch.environment = make_environment(application, place);
  if (application.command.empty()) return launch;  // a service that runs elsewhere
  auto program = find_program(application.command, launch.environment, place, launch.directory);
  if (!program) return program.error();
  launch.path = *program;
  launch.arguments = application.arguments;
  return launch;
}

}  // namespace flame::shims

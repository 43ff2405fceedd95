// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#include "client/cpp/src/context_file.hpp"

#include <yaml-cpp/yaml.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

namespace flame::client {

using proto::Code;
using proto::Error;
using proto::Result;

namespace {

// yaml-cpp expands aliases while it loads; a file of contexts is far below.
constexpr std::streamsize kFileBytesMax = 1 << 20;

Result<Target> target_in(const YAML::Node& cluster) {
  if (!cluster || cluster.IsNull()) return Target();
  if (!cluster.IsMap()) return Error{Code::kBadRequest, "has a cluster that is no map"};
  if (cluster["tls"] && !cluster["tls"].IsNull()) {
    return Error{Code::kUnsupported, "asks for TLS, which is not there yet"};
  }
  auto endpoint = cluster["endpoint"], name = cluster["name"];
  if (name && !name.IsNull() && !name.IsScalar()) {
    return Error{Code::kBadRequest, "has a cluster whose name is no text"};
  }
  return Target{endpoint && endpoint.IsScalar() ? endpoint.Scalar() : "",
                name && name.IsScalar() ? name.Scalar() : ""};
}

/// Of the current context; throws what yaml-cpp throws.
Result<Target> current_in(const YAML::Node& root) {
  if (!root.IsMap()) return Error{Code::kBadRequest, "is not a map with current-context"};
  auto current = root["current-context"];
  if (!current || !current.IsScalar()) {
    return Error{Code::kBadRequest, "names no current-context"};
  }
  const auto& name = current.Scalar();
  auto contexts = root["contexts"];
  for (const auto& context : contexts&& contexts.IsSequence() ? contexts : YAML::Node()) {
    auto found = context.IsMap() ? context["name"] : YAML::Node();
    if (!found || !found.IsScalar() || found.Scalar() != name) continue;
    return target_in(context["cluster"]);
  }
  return Error{Code::kBadRequest, "has no context '" + name + "', which current-context names"};
}

Result<std::string> read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error{Code::kSystem, std::string("cannot be read: ") + std::strerror(errno)};
  std::string text(kFileBytesMax, '\0');
  file.read(text.data(), kFileBytesMax);
  text.resize(static_cast<size_t>(file.gcount()));
  if (file.bad()) return Error{Code::kSystem, "cannot be read"};
  if (!file.eof()) return Error{Code::kTooLarge, "is larger than 1 MiB"};
  return text;
}

Result<Target> target_in_file(const std::string& path) {
  auto text = read(path);
  if (!text) return text.error();
  try {
    return current_in(YAML::Load(*text));
  } catch (const YAML::Exception& error) {
    return Error{Code::kBadRequest, std::string("is no YAML: ") + error.what()};
  }
}

/// The client core takes what zmq_connect takes, and would wait for an http:// for ever.
bool is_address(const std::string& endpoint) {
  return endpoint.starts_with("tcp://") || endpoint.starts_with("ipc://");
}

}  // namespace

Result<Target> target_of_context(const std::string& home) {
  std::string path = home + "/.flame/flame.yaml";
  if (home.empty() || (!std::ifstream(path) && errno == ENOENT)) return Target();
  auto found = target_in_file(path);
  if (found && !found->endpoint.empty() && !is_address(found->endpoint)) {
    found = Error{Code::kBadRequest, "says the broker is at '" + found->endpoint +
                                         "', which is no address of one; it looks like "
                                         "tcp://HOST:PORT"};
  }
  if (found) return found;
  return Error{found.error().code, "The context file " + path + " " + found.error().message +
                                       ". Mend it, set FLAME_ENDPOINT, or give the address"};
}

}  // namespace flame::client

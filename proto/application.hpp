// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// An application: a registered kind of service. The same struct is the manifest (metadata.name +
// spec), the entry in flame:apps and the part of a bind message. docs/applications.md explains
// every field.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/error.hpp"
#include "proto/limits.hpp"
#include "proto/value.hpp"

namespace flame::proto {

/// How a service behind the rest shim is reached.
struct RestService {
  std::string url;  ///< http(s)://host:port/path; {port}: chosen by the executor; "": a unix socket
  std::string health = "/health";
  std::string content_type = "application/octet-stream";  ///< of what is sent
  bool batch = false;   ///< a frame of tasks in one JSON document; docs/applications.md
  std::string ca_file;  ///< who may sign an https service's certificate; "": the system's list
  friend bool operator==(const RestService&, const RestService&) = default;
};

struct Application {
  std::string name;
  std::string shim = "native";  ///< native | shell | grpc | rest (stdio, library: named, refused)
  /// Executable; looked up in PATH; no shell. "" only for a rest service that runs elsewhere.
  std::string command;
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> environment;
  std::string working_directory;  ///< absolute, or "" for a folder of the executor's
  std::string image;              ///< for executors on Kubernetes
  std::string description;
  std::vector<std::string> labels;
  uint64_t max_instances = 1'000'000;
  uint64_t delay_release_ms = kDelayReleaseMs;
  uint64_t task_timeout_ms = 0;  ///< 0: none
  uint64_t max_attempts = kMaxAttempts;
  bool reuse = true;         ///< false: the process ends with its session; the default of grpc
  uint64_t concurrency = 1;  ///< tasks that an instance has at the same time; grpc, rest
  uint64_t results_ttl_ms = kResultsTtlMs;
  uint64_t summary_ttl_ms = kSummaryTtlMs;
  RestService rest;
  Value extra;  ///< kubernetes; schema, url, installer, resources: kept and shown, not acting yet

  friend bool operator==(const Application&, const Application&) = default;
};

/// What `reuse` is where nothing is said. The original starts a process for each session, and the
/// services that were written for it may rely on that.
bool reuses_by_default(std::string_view shim);

/// As a map with the manifest's field names; the form in Redis, in listings and in `-o yaml`.
Value to_value(const Application& application);
/// The strict reverse: an unknown or mistyped field is an error that names it and the nearest right
/// one.
Result<Application> application_from(const Value& value);
/// A manifest {metadata: {name}, spec: {...}}, as read from YAML.
Result<Application> application_from_manifest(const Value& manifest);

}  // namespace flame::proto

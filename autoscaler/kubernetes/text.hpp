// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// JSON, YAML and base64 as values: what the API server and kubeconfigs are written in.

#include <string>
#include <string_view>

#include "proto/error.hpp"
#include "proto/value.hpp"

namespace flame::autoscaler::kubernetes {

/// One JSON value. `metadata.managedFields`, longer than the rest of an object, are left out.
proto::Result<proto::Value> read_json(std::string_view text);
std::string write_json(const proto::Value& value);

/// The first document of a YAML text (or of JSON, which is YAML). Quoted numbers stay texts.
proto::Result<proto::Value> read_yaml(const std::string& text);

/// Standard alphabet with padding; white space between is skipped.
proto::Result<std::string> decode_base64(std::string_view text);

/// "2026-01-02T03:04:05Z", as Kubernetes writes times, in seconds since 1970.
proto::Result<int64_t> read_time(const std::string& text);
/// With microseconds, as a Lease wants them.
std::string write_time(int64_t wall_us);

/// The value under a path of keys, or null.
const proto::Value* at(const proto::Value& value, std::initializer_list<std::string_view> path);
std::string text_in(const proto::Value& value, std::initializer_list<std::string_view> path);
int64_t number_in(const proto::Value& value, std::initializer_list<std::string_view> path);

}  // namespace flame::autoscaler::kubernetes

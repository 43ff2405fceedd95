// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The broker's HTTP as the supervisor asks it, with a Probe.

#include <string>

#include "runtime/probe.hpp"

namespace flame::flmctl {

using runtime::Probe;

std::string http_get(const std::string& path);
/// Status 200.
bool http_ok(const std::string& answer);
/// Of an answer with status 200; "" for any other.
std::string http_body(const std::string& answer);
/// Of an answer with any status, without the last line end.
std::string http_text(const std::string& answer);
/// http://host:port -> host:port
std::string address_of(const std::string& url);

}  // namespace flame::flmctl

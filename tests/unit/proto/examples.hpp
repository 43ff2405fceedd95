// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// One example of every message, with every field away from its default: what the golden vectors
// pin, what the round trips use and what the fuzzers start from.

#include <vector>

#include "proto/messages.hpp"

namespace flame::proto::test {

struct Example {
  Envelope envelope;
  Message message;
};

/// In the order of proto::Message; a message without an example does not compile.
std::vector<Example> all_examples();

/// Output elements in the form of a payload frame.
Bytes elements(std::initializer_list<std::string_view> contents);

}  // namespace flame::proto::test

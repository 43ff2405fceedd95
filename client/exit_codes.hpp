// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What the tools' exit codes mean; scripts rely on them, so they only grow.

#include "proto/error.hpp"

namespace flame::tools {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,
  kExitUsage = 2,
  kExitNotFound = 3,
  kExitTasksFailed = 4,
  kExitNoBroker = 5,
  kExitTimeout = 124,
  kExitInterrupted = 130,
};

inline ExitCode exit_code_of(proto::Code code) {
  switch (code) {
    case proto::Code::kOk:
      return kExitOk;
    case proto::Code::kNotFound:
    case proto::Code::kGone:
      return kExitNotFound;
    case proto::Code::kNoBroker:
      return kExitNoBroker;
    case proto::Code::kTimeout:
      return kExitTimeout;
    case proto::Code::kInterrupted:
      return kExitInterrupted;
    default:
      return kExitFailed;
  }
}

}  // namespace flame::tools

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The command line as a Policy.

#include <string>
#include <vector>

#include "autoscaler/core/policy.hpp"
#include "proto/error.hpp"
#include "runtime/options.hpp"

namespace flame::autoscaler {

const std::vector<runtime::OptionRow>& option_rows();
proto::Result<Policy> policy_from(const runtime::Options& options);

}  // namespace flame::autoscaler

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// The command line as a Policy.

#include <string>
#include <vector>

#include "autoscaler/core/policy.hpp"
#include "autoscaler/kubernetes/kubernetes_provider.hpp"
#include "proto/error.hpp"
#include "runtime/options.hpp"

namespace flame::autoscaler {

const std::vector<runtime::OptionRow>& option_rows();
proto::Result<Policy> policy_from(const runtime::Options& options);
/// The broker's endpoint for clients.
std::string broker_from(const runtime::Options& options);
/// Whether executors are pods; an error if `--provider` is none that there is.
proto::Result<bool> is_kubernetes(const runtime::Options& options);
/// Reads the kubeconfig and the defaults file.
proto::Result<kubernetes::Settings> kubernetes_from(const runtime::Options& options,
                                                    const Policy& policy);

}  // namespace flame::autoscaler

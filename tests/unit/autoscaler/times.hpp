// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

#include "proto/time.hpp"

namespace flame::autoscaler {

inline constexpr int64_t kMs = proto::kUsPerMs;
inline constexpr int64_t kS = proto::kUsPerSecond;

}  // namespace flame::autoscaler

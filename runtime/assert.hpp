// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// For bugs only, never for what came from outside. On in release: Redis holds the truth and leases
// expire, so a crash costs a retry where a wrong state costs trust.

namespace flame::runtime {
[[noreturn]] void assertion_failed(const char* what, const char* file, int line);
}

#define FLAME_ASSERT(condition) \
  ((condition) ? void(0) : ::flame::runtime::assertion_failed(#condition, __FILE__, __LINE__))

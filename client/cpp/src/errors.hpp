// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

#include <utility>

#include "flame/error.hpp"
#include "proto/error.hpp"

namespace flame::detail {

/// The border between Result and exceptions: only the public classes throw.
[[noreturn]] void raise(const proto::Error& error);

template <class T>
T value_or_raise(proto::Result<T> result) {
  if (!result) raise(result.error());
  return std::move(*result);
}

}  // namespace flame::detail

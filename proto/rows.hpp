// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// Rows of an answer (Listing, Tasks) as its payload: elements, each a map as encode_value() has it.
// Not in the header: ten thousand of them would not fit there.

#include <string_view>

#include "proto/bytes.hpp"
#include "proto/error.hpp"
#include "proto/value.hpp"

namespace flame::proto {

Bytes encode_rows(const List& rows);
/// Error: kBadFrame.
Result<List> decode_rows(std::string_view payload);

}  // namespace flame::proto

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

#include <cstdint>
#include <string_view>

namespace flame::proto {

/// CRC-32C (Castagnoli, RFC 3720 B.4). `crc` continues an earlier part. SSE 4.2 where the machine
/// has it.
uint32_t crc32c(std::string_view bytes, uint32_t crc = 0);

}  // namespace flame::proto

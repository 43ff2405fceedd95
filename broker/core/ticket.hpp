// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

#include <string>
#include <string_view>

#include "proto/messages.hpp"

namespace flame::broker {

/// SipHash-2-4 with 128 bits of output (Aumasson, Bernstein 2012; reference code's siphash.c).
/// `key` has 16 bytes.
std::string siphash128(std::string_view key, std::string_view bytes);

/// Signs what was dispatched: any later broker of the lineage can check a result without having
/// stored anything.
void sign_ticket(proto::Ticket& ticket, std::string_view secret, proto::SessionUid uid,
                 std::string_view executor);
bool ticket_is_ours(const proto::Ticket& ticket, std::string_view secret, proto::SessionUid uid,
                    std::string_view executor);

}  // namespace flame::broker

// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// What is made of a batch's bytes after it was encoded: they are walked, and no value is looked at.

#include <cstddef>
#include <string>
#include <string_view>

namespace flame::broker {

/// The same for a Redis that is full, which would not even queue it: a script that may run all the
/// same, if flame:meta still has this epoch and batch ("" both: if there is none). `bytes` are
/// MULTI, commands, EXEC and what follows, as encode() writes them. The answers are those of
/// UNWATCH, of the script as EXEC's would be (1 or an error for each command; nil: nothing was
/// done), and of what follows.
std::string overfilling(std::string_view bytes, std::string_view epoch, std::string_view batch);
/// UNWATCH, EVAL, WATCH and HMGET.
inline constexpr size_t kOverfillingReplies = 4;

/// The session named by the key of command `index` (0: the first after MULTI) of an encoded batch,
/// or "" where it is none's. For error texts: walks the bytes.
std::string session_of_command(std::string_view bytes, size_t index);

}  // namespace flame::broker

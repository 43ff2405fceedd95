// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

#include <cstdint>
#include <string>

namespace flame::runtime {

/// Takes a secret out of the environment, also out of what /proc/PID/environ shows: a service runs
/// as the same user and could read it there. Before any thread is started.
void forget_environment(const std::string& name);

/// Raises the soft limit of open files to the hard one and returns it. For a process with a
/// connection per peer; 1024, as a shell gives, would admit no more peers and libzmq's thread would
/// try for ever.
uint64_t take_all_descriptors();

/// Of this machine (or container), "localhost" where it has none.
std::string host_name();

}  // namespace flame::runtime

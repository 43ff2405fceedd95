// SPDX-License-Identifier: Apache-2.0
// Copyright The Flame Authors
#pragma once

// `flmctl up`, `down` and `status`: a local cluster with its own Redis. argv[0] is skipped; the
// result is the exit code of the process.

namespace flame::flmctl {

int run_up(int argc, const char* const* argv);
int run_down(int argc, const char* const* argv);
int run_status(int argc, const char* const* argv);

}  // namespace flame::flmctl

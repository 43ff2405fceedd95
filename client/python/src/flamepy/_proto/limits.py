# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The bounds that a client and a service need. Value, unit and reason of each stand in
proto/limits.hpp; a test compares them with the table in docs/protocol.md."""

MIB = 1 << 20

HEADER_BYTES_MAX = 262_144
HEADER_DEPTH_MAX = 8
PAYLOAD_BYTES_MAX = 64 * MIB
MESSAGE_BYTES_MAX = 80 * MIB
COMMON_BYTES_MAX = 64 * MIB
RUN_TASKS_MAX = 1024
RUN_BYTES_MAX = 262_144
SUBMITS_UNACKED_MAX = 64
CANCEL_RUNS_MAX = 1024
REASON_BYTES_MAX = 4096
PROGRESS_TEXT_BYTES_MAX = 1024
DELIVER_BYTES_MAX = 16 * MIB
BEAT_MS = 1000
CLIENT_LEASE_MS = 30_000

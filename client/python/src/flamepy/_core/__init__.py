# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The client decides here: events in, actions out, both plain values; no socket, clock or thread.
The same machine as client/cpp/src/core."""

# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Rows of an answer as its payload: elements, each a msgpack map (proto/rows.hpp)."""

from __future__ import annotations

from typing import Any

import msgpack

from flamepy._proto.codec import BadFrame


def decode_rows(payload: bytes) -> list[dict[str, Any]]:
    """Raises BadFrame."""
    elements = msgpack.Unpacker(max_buffer_size=max(1, len(payload)))
    elements.feed(payload)
    try:
        return [msgpack.unpackb(row, unicode_errors="surrogateescape") for row in elements]
    except Exception as error:  # msgpack raises many kinds
        raise BadFrame(f"rows that are no msgpack: {error}") from None

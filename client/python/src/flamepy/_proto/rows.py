# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""Rows of an answer as its payload: elements, each a msgpack map (proto/rows.hpp)."""

from __future__ import annotations

from typing import Any

import msgpack

from flamepy._proto.codec import BadFrame


def decode_rows(payload: bytes) -> list[dict[str, Any]]:
    """Raises BadFrame."""
    try:
        return [_row(element) for element in _elements(payload)]
    except Exception as error:  # msgpack raises many kinds
        raise BadFrame(f"rows that are none: {error!r}") from None


def decode_tasks(payload: bytes) -> list[tuple[dict[str, Any], bytes | None, bytes | None]]:
    """Rows with the input and the output behind them. Raises BadFrame."""
    tasks = []
    try:
        elements = iter(_elements(payload))
        for element in elements:
            row = _row(element)
            input_data = next(elements) if row.get("input") is True else None
            output = next(elements) if row.get("output") is True else None
            tasks.append((row, input_data, output))
    except Exception as error:
        raise BadFrame(f"tasks that are none: {error!r}") from None
    return tasks


def decode_logs(payload: bytes) -> list[tuple[dict[str, Any], bytes]]:
    """Rows with the text behind each. Raises BadFrame."""
    try:
        elements = iter(_elements(payload))
        return [(_row(element), next(elements)) for element in elements]
    except Exception as error:
        raise BadFrame(f"logs that are none: {error!r}") from None


def _elements(payload: bytes) -> list[bytes]:
    unpacker = msgpack.Unpacker(max_buffer_size=max(1, len(payload)))
    unpacker.feed(payload)
    elements = list(unpacker)
    if unpacker.tell() != len(payload):
        raise ValueError("the last element is cut")
    return elements


def _row(element: bytes) -> dict[str, Any]:
    row = msgpack.unpackb(element, unicode_errors="surrogateescape")
    if type(row) is not dict:
        raise ValueError("a row that is no map")
    return row

# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The payload of a run: its elements one after the other, each a msgpack bin, without array header.

Whole runs go through msgpack's C code: a Python step per element would cost more than the rest of
the way. A single short element does not: between other work the first call into that code takes
5 to 10 us.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgpack

from flamepy._proto.limits import MESSAGE_BYTES_MAX

_FIX_ARRAY_MAX = 15
_ARRAY16_MAX = 0xFFFF
_BIN_HEAD_MAX = 5
_BIN8 = 0xC4
_BIN8_HEAD = 2
_BIN8_MAX = 0xFF


class BadElements(ValueError):
    """A payload that is not as many elements as it should be."""


def element_size_max(content_size: int) -> int:
    """At least what an element of so many bytes takes; at most three more."""
    return content_size + _BIN_HEAD_MAX


def pack_elements(contents: Sequence[bytes]) -> bytes:
    if len(contents) == 1 and len(contents[0]) <= _BIN8_MAX:
        return bytes((_BIN8, len(contents[0]))) + contents[0]
    packed = cast(bytes, msgpack.packb(contents))
    return packed[len(_array_header(len(contents))) :]


def unpack_elements(payload: bytes, count: int) -> list[bytes]:
    """Exactly `count` elements; BadElements otherwise."""
    size = len(payload) - _BIN8_HEAD
    if count == 1 and 0 <= size <= _BIN8_MAX and payload[0] == _BIN8 and payload[1] == size:
        return [payload[_BIN8_HEAD:]]
    try:
        # Exactly one array of `count`: too few, too many and anything else do not decode.
        items = msgpack.unpackb(
            _array_header(count) + payload,
            max_bin_len=MESSAGE_BYTES_MAX,
            max_array_len=count,
            max_str_len=0,
            max_map_len=0,
            max_ext_len=0,
        )
    except Exception as error:  # msgpack raises many kinds, all of them ValueErrors by meaning
        raise BadElements(f"not {count} elements: {error}") from None
    if set(map(type, items)) - {bytes}:
        raise BadElements("an element is no msgpack bin")
    return cast(list[bytes], items)


def _array_header(count: int) -> bytes:
    if count <= _FIX_ARRAY_MAX:
        return bytes((0x90 | count,))
    if count <= _ARRAY16_MAX:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")

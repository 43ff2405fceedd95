# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The payload of a run: its elements one after the other, each a msgpack bin, without array header.

Whole runs go through msgpack's C code: a Python step per element would cost more than the rest of
the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgpack

from flamepy._proto.limits import MESSAGE_BYTES_MAX

_FIX_ARRAY_MAX = 15
_ARRAY16_MAX = 0xFFFF
_BIN_HEAD_MAX = 5


class BadElements(ValueError):
    """A payload that is not as many elements as it should be."""


def element_size_max(content_size: int) -> int:
    """At least what an element of so many bytes takes; at most three more."""
    return content_size + _BIN_HEAD_MAX


def pack_elements(contents: Sequence[bytes]) -> bytes:
    packed = cast(bytes, msgpack.packb(contents))
    return packed[len(_array_header(len(contents))) :]


def unpack_elements(payload: bytes, count: int) -> list[bytes]:
    """Exactly `count` elements; BadElements otherwise."""
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

# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The functions of a flamepy.Executor, which its session's common data carries: each has a number,
and a task says the number of its function.

The first function's tasks say nothing, so that the usual case costs nothing. A pickle ends with a
dot, and what stands behind it is not read: the other numbers stand there, and end with no dot.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, cast

import cloudpickle

PROTOCOL = 5
STOP = 0x2E
_MARK = b"\xff"
_NUMBER_BYTES = 3
_SUFFIX_BYTES = _NUMBER_BYTES + len(_MARK)

FUNCTIONS_MAX = 1024
TABLE_BYTES_MAX = 16 << 20
"""Of all functions together: the table travels as a whole whenever one is added."""
_SEEN_ONCE_MAX = 64


def suffix_of(number: int) -> bytes:
    return number.to_bytes(_NUMBER_BYTES, "little") + _MARK if number else b""


def number_of(data: bytes) -> int:
    return int.from_bytes(data[-_SUFFIX_BYTES : -len(_MARK)], "little")


class Known(NamedTuple):
    """`function` is kept, so that its id is not given to another one."""

    function: Any
    suffix: bytes


class FunctionTable:
    """Not of several threads at once, but for `find`."""

    def __init__(self) -> None:
        self.pickled: list[bytes] = []
        self._bytes = 0
        self._known: dict[Any, Known] = {}
        self._seen_once: dict[Any, Any] = {}

    def find(self, function: Callable[..., Any]) -> Known | None:
        try:
            return self._known.get(function)
        except TypeError:  # not hashable
            return self._known.get(id(function))

    def wants(self, function: Callable[..., Any]) -> bool:
        """Whether it is worth a place: not a lambda that is new at each call. Its first task brings
        it along; the second time it gets a number."""
        if not self.pickled:
            return True
        key = _key_of(function)
        if key in self._seen_once:
            return True
        if len(self._seen_once) == _SEEN_ONCE_MAX:
            del self._seen_once[next(iter(self._seen_once))]
        self._seen_once[key] = function
        return False

    def pickle(self, function: Callable[..., Any]) -> bytes | None:
        """By value; nothing where the table has no room for it."""
        data = cast(bytes, cloudpickle.dumps(function, PROTOCOL))
        full = len(self.pickled) >= FUNCTIONS_MAX or self._bytes + len(data) > TABLE_BYTES_MAX
        return None if full and self.pickled else data

    def add(self, function: Callable[..., Any], data: bytes) -> Known:
        key = _key_of(function)
        self._seen_once.pop(key, None)
        known = self._known[key] = Known(function, suffix_of(len(self.pickled)))
        self.pickled.append(data)
        self._bytes += len(data)
        return known


def _key_of(function: Any) -> Any:
    try:
        hash(function)
    except TypeError:
        return id(function)
    return function

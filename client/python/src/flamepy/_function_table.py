# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The functions of a flamepy.Executor, which its session's common data carries: each has a number,
and a task says the number of its function, and how its arguments are given.

A pickle ends with a dot, and what stands behind it is not read: there it stands, and ends with no
dot. Plain arguments of the first function say nothing, so that the usual case costs nothing.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, cast

import cloudpickle

PROTOCOL = 5
STOP = 0x2E
PLAIN = 0xFF
"""The pickle is a tuple of arguments,"""
KEYWORDS = 0xFE
"""of that and a dict of keywords,"""
WHOLE = 0xFD
"""of the function and both."""
_NUMBER_BYTES = 3
_TAIL_BYTES = _NUMBER_BYTES + 1

FUNCTIONS_MAX = 1024
TABLE_BYTES_MAX = 16 << 20
"""Of all functions together: the table travels as a whole whenever one is added."""
_SEEN_ONCE_MAX = 64


def tail(number: int, kind: int) -> bytes:
    return number.to_bytes(_NUMBER_BYTES, "little") + bytes((kind,))


def tail_of(data: bytes) -> bytes:
    return data[-_TAIL_BYTES:]


def number_of(data: bytes) -> int:
    return 0 if data[-1] == STOP else int.from_bytes(data[-_TAIL_BYTES:-1], "little")


class Known(NamedTuple):
    """`function` is kept, so that its id is not given to another one."""

    function: Any
    number: int

    @property
    def plain(self) -> bytes:
        return tail(self.number, PLAIN) if self.number else b""


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
        known = self._known[key] = Known(function, len(self.pickled))
        self.pickled.append(data)
        self._bytes += len(data)
        return known


def _key_of(function: Any) -> Any:
    try:
        hash(function)
    except TypeError:
        return id(function)
    return function

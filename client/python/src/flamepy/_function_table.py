# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The functions of a flamepy.Executor, which its session's common data carries: each has a number,
and a task says the number of its function, and how its arguments are given.

A pickle ends with a dot, and what stands behind it is not read: there it stands, and ends with no
dot. Plain arguments of the first function say nothing, so that the usual case costs nothing.
"""

from __future__ import annotations

import types
from typing import Any, Callable, NamedTuple

from flamepy._proto.limits import COMMON_BYTES_MAX
from flamepy.errors import Code, TooLargeError

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
LARGE_TABLE_BYTES_MAX = COMMON_BYTES_MAX - (1 << 20)
"""With one of above WHOLE_BYTES_MAX for a map: to travel with each of its items costs more."""
WHOLE_BYTES_MAX = 1 << 16
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
        self._numbers: dict[bytes, int] = {}
        self._known: dict[int, Known] = {}
        self._seen_once: dict[int, Any] = {}

    def find(self, function: Callable[..., Any]) -> Known | None:
        """A plain one, as it was when it got its number."""
        return self._known.get(id(function))

    def wants(self, function: Callable[..., Any]) -> bool:
        """Whether it is worth a place: not a lambda that is new at each call. Its first task brings
        it along; the second time it gets a number. What may change between two calls has none."""
        if not _is_plain(function):
            return False
        key = id(function)
        if not self.pickled or key in self._seen_once:
            return True
        if len(self._seen_once) == _SEEN_ONCE_MAX:
            del self._seen_once[next(iter(self._seen_once))]
        self._seen_once[key] = function
        return False

    def has(self, data: bytes) -> bool:
        return data in self._numbers

    def has_room(self, data: bytes, once: bool) -> bool:
        """Raises where there is none, and the function is too large to go along with each item."""
        if not self.pickled:
            return True
        small = once or len(data) <= WHOLE_BYTES_MAX
        bytes_max = TABLE_BYTES_MAX if small else LARGE_TABLE_BYTES_MAX
        has = len(self.pickled) < FUNCTIONS_MAX and self._bytes + len(data) <= bytes_max
        if not has and not small:
            raise TooLargeError(
                Code.TOO_LARGE,
                f"a function of {len(data)} bytes, with all that it refers to, beside the "
                f"{len(self.pickled)} others of this executor ({self._bytes} bytes; at most "
                f"{FUNCTIONS_MAX} of {bytes_max}). Give it an executor of its own, or let the "
                "workers load what is large: with initializer=, from a file",
            )
        return has

    def add(self, function: Callable[..., Any], data: bytes) -> Known:
        if data not in self._numbers:
            self._numbers[data] = len(self.pickled)
            self.pickled.append(data)
            self._bytes += len(data)
        known = Known(function, self._numbers[data])
        if _is_plain(function):
            self._seen_once.pop(id(function), None)
            self._known[id(function)] = known
        return known


def _is_plain(function: Any) -> bool:
    """Not so a bound method, an object that can be called, a partial: each call is of what they are
    then."""
    if isinstance(function, types.BuiltinFunctionType):
        return isinstance(function.__self__, (types.ModuleType, type(None)))
    return isinstance(function, (types.FunctionType, type))

# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What flamepy.Executor and its workers say to each other, beside the calls themselves. Not in
worker.py: a module that is run by its name should not have been imported before."""

from __future__ import annotations

import platform
from typing import Any, NamedTuple, cast

import msgpack

from flamepy._by_value import by_value
from flamepy._version import __version__

BROKEN = "The worker cannot serve: "
PICKLED = "\n\npickled: "
"""Before the exception itself in a reason, where it fits."""


def python_version() -> str:
    return ".".join(platform.python_version_tuple()[:2])


class Work(NamedTuple):
    """The common data of an executor's session. Versions come first: what follows is read only
    where they are equal."""

    flamepy: str
    python: str
    path: list[str]
    """Where the client finds its modules; empty on another host."""
    initializer: bytes
    functions: list[bytes]

    def pack(self) -> bytes:
        return cast(bytes, msgpack.packb(self))

    @classmethod
    def unpack(cls, data: bytes) -> Work:
        fields = msgpack.unpackb(data)
        theirs, ours = tuple(fields[:2]), (__version__, python_version())
        if theirs != ours:
            raise RuntimeError(
                "the client has flamepy {} with Python {}, this executor flamepy {} with "
                "Python {}; install the same here".format(*theirs, *ours)
            )
        return cls(*fields)


class Remade:
    """In place of an exception whose class cannot be called with its args, or which is large: with
    no argument, nor attribute, of much above `size` bytes."""

    def __init__(self, error: BaseException, size: int) -> None:
        args = error.__reduce__()[1] if isinstance(error, OSError) else error.args
        self._kind = type(error)
        self._args = tuple(_shortened(value, size) for value in args)
        self._state = {name: _shortened(value, size) for name, value in vars(error).items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self._kind, self._args, self._state)


def _made(kind: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    try:
        made = kind(*args)
    except Exception:
        made = kind.__new__(kind, *args)
    if not isinstance(made, OSError):  # it takes the file's name out
        made.args = args
    vars(made).update(state)
    return made


def _shortened(value: Any, size: int) -> Any:
    """Of what is no text, and large, what it looks like."""
    if isinstance(value, bytes):
        return value[:size]
    if not isinstance(value, str):
        if len(by_value(value)) <= size:
            return value
        value = repr(value)
    return value if len(value) <= size else value[:size] + "..."

# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What flamepy.Executor and its workers say to each other, beside the calls themselves. Not in
worker.py: a module that is run by its name should not have been imported before."""

from __future__ import annotations

import platform
from typing import NamedTuple, cast

import msgpack

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

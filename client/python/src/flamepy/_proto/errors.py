# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The codes of the wire. A test compares them with proto/vectors/messages.json."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Code(IntEnum):
    """Permanent numbers: they stand on the wire and in Redis."""

    OK = 0
    BAD_REQUEST = 1
    BAD_NAME = 2
    TOO_LARGE = 3
    NOT_FOUND = 4
    ALREADY_EXISTS = 5
    WRONG_STATE = 6
    GONE = 7
    GAP = 8
    TRIMMED = 9
    UNSUPPORTED = 10
    REFUSED = 11
    DUPLICATE = 12
    FORGOTTEN = 13
    CONFLICT = 14
    BAD_FRAME = 32
    VERSION = 33
    CLUSTER = 34
    RESYNC = 35
    BUSY = 64
    STORE_DOWN = 65
    STORE_REFUSED = 66
    RECOVERING = 67
    SHUTTING_DOWN = 68
    LOST_LINEAGE = 69
    TASK_FAILED = 96
    TASK_CRASHED = 97
    TASK_TIMEOUT = 98
    TASK_OUTPUT_TOO_LARGE = 99
    TASK_CANCELLED = 100
    TASK_SERVICE_FAILED = 101
    LOST_BY_STORE = 102
    NO_BROKER = 128
    TIMEOUT = 129
    INTERRUPTED = 130
    SYSTEM = 131

    @property
    def text(self) -> str:
        return self.name.lower()

    @property
    def retry(self) -> str:
        """no: the same call fails again. later: it may succeed after a while. again: it is not
        known whether it took effect, and repeating it is safe."""
        if self in _AGAIN:
            return "again"
        return "later" if self in _LATER else "no"


_AGAIN = frozenset({Code.GAP, Code.RESYNC, Code.TIMEOUT, Code.INTERRUPTED})
_LATER = frozenset(
    {
        Code.BUSY,
        Code.STORE_DOWN,
        Code.STORE_REFUSED,
        Code.RECOVERING,
        Code.SHUTTING_DOWN,
        Code.LOST_LINEAGE,
        Code.NO_BROKER,
    }
)


def code_from(number: int) -> Code:
    """A number that this version does not know is read as bad_request."""
    try:
        return Code(number)
    except ValueError:
        return Code.BAD_REQUEST


class Error(NamedTuple):
    """An expected failure as a value; only the public classes raise."""

    code: Code
    message: str
    retry_after_ms: int = 0


NO_ERROR = Error(Code.OK, "")

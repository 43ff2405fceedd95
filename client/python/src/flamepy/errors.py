# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""What the package raises. One exception, `FlameError`, with narrower kinds where a caller wants to
tell them apart; `kind` is the code of the wire (docs/protocol.md, "Errors"), `code` the coarse one
that flamepy 0.6 has."""

from __future__ import annotations

import concurrent.futures
from enum import IntEnum

from flamepy._proto.errors import Code, Error

__all__ = [
    "BrokenWorkerError",
    "Code",
    "FlameError",
    "FlameErrorCode",
    "FlameTimeoutError",
    "NoBrokerError",
    "NotYetError",
    "SessionClosedError",
    "TaskCancelledError",
    "TaskError",
    "TooLargeError",
]


class FlameErrorCode(IntEnum):
    """As in flamepy 0.6."""

    INVALID_CONFIG = 0
    INVALID_STATE = 1
    INVALID_ARGUMENT = 2
    INTERNAL = 3
    ALREADY_EXISTS = 4
    NOT_FOUND = 5


_COARSE = {
    Code.BAD_REQUEST: FlameErrorCode.INVALID_ARGUMENT,
    Code.BAD_NAME: FlameErrorCode.INVALID_ARGUMENT,
    Code.TOO_LARGE: FlameErrorCode.INVALID_ARGUMENT,
    Code.UNSUPPORTED: FlameErrorCode.INVALID_ARGUMENT,
    Code.NOT_FOUND: FlameErrorCode.NOT_FOUND,
    Code.GONE: FlameErrorCode.NOT_FOUND,
    Code.ALREADY_EXISTS: FlameErrorCode.ALREADY_EXISTS,
    Code.WRONG_STATE: FlameErrorCode.INVALID_STATE,
    Code.CONFLICT: FlameErrorCode.INVALID_STATE,
    Code.VERSION: FlameErrorCode.INVALID_CONFIG,
    Code.CLUSTER: FlameErrorCode.INVALID_CONFIG,
    Code.NO_BROKER: FlameErrorCode.INVALID_CONFIG,
}
# What flamepy 0.6 code raises itself, as a code of ours.
_FINE = {
    FlameErrorCode.INVALID_CONFIG: Code.BAD_REQUEST,
    FlameErrorCode.INVALID_STATE: Code.WRONG_STATE,
    FlameErrorCode.INVALID_ARGUMENT: Code.BAD_REQUEST,
    FlameErrorCode.INTERNAL: Code.SYSTEM,
    FlameErrorCode.ALREADY_EXISTS: Code.ALREADY_EXISTS,
    FlameErrorCode.NOT_FOUND: Code.NOT_FOUND,
}


class FlameError(Exception):
    """What happened, why, and what to do next."""

    def __init__(self, code: FlameErrorCode | Code, message: str, retry_after_ms: int = 0) -> None:
        super().__init__(code, message, retry_after_ms)
        if isinstance(code, FlameErrorCode):
            self.code, self.kind = code, _FINE[code]
        else:
            self.code, self.kind = _COARSE.get(code, FlameErrorCode.INTERNAL), code
        self.message = message
        self.retry_after_ms = retry_after_ms

    def __str__(self) -> str:
        return f"{self.message} ({self.kind.text})"


class NoBrokerError(FlameError, ConnectionError):
    """Nothing answers at the endpoint."""


class FlameTimeoutError(FlameError, TimeoutError):
    """No answer in time. It may still take effect."""


class TooLargeError(FlameError, ValueError):
    """A payload is above its limit."""


class SessionClosedError(FlameError):
    """The session's state does not allow it: it is closed or deleted."""


class TaskError(FlameError):
    """A task did not succeed. `message` is the service's own, with the remote traceback behind its
    first line if there is one; of a crash, exit code or signal and the tail of stderr."""

    task_id: int | None = None


class TaskCancelledError(TaskError, concurrent.futures.CancelledError):
    """The task was cancelled before it finished, for example because its session was closed."""


class NotYetError(FlameError, NotImplementedError):
    """A name of flamepy 0.6 that this version does not have: Runner, the object cache, Sandbox."""


class BrokenWorkerError(TaskError, concurrent.futures.BrokenExecutor):
    """The worker of a flamepy.Executor cannot serve: another version, or its initializer failed."""


_KINDS: dict[Code, type[FlameError]] = {
    Code.NO_BROKER: NoBrokerError,
    Code.TIMEOUT: FlameTimeoutError,
    Code.TOO_LARGE: TooLargeError,
    Code.WRONG_STATE: SessionClosedError,
    Code.GONE: SessionClosedError,
    Code.TASK_CANCELLED: TaskCancelledError,
}
_OF_TASKS: tuple[Code, ...] = (
    Code.TASK_FAILED,
    Code.TASK_CRASHED,
    Code.TASK_TIMEOUT,
    Code.TASK_OUTPUT_TOO_LARGE,
    Code.TASK_SERVICE_FAILED,
    Code.LOST_BY_STORE,
)
_KINDS.update(dict.fromkeys(_OF_TASKS, TaskError))


def exception_of(error: Error) -> FlameError:
    """The border between errors as values and exceptions."""
    return _KINDS.get(error.code, FlameError)(error.code, error.message, error.retry_after_ms)

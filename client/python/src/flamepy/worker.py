# SPDX-License-Identifier: Apache-2.0
# Copyright The Flame Authors
"""The service behind flamepy.Executor: `python -m flamepy.worker`, started by a flame-executor.

The session's common data brings the functions, pickled by value, and grows while the session is
open; a task's input are its arguments and the number of its function (`_function_table.py`), its
output is the pickled result. What cannot be served (another Python, a failed initializer) is
every task's failure: a refused session would leave its tasks waiting.
"""

from __future__ import annotations

import base64
import pickle
import platform
import sys
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple, cast

import cloudpickle
import msgpack

from flamepy._cancellations import TaskCancelled
from flamepy._function_table import STOP, number_of
from flamepy._proto import limits
from flamepy._service import (
    BatchContext,
    FlameService,
    Output,
    SessionContext,
    TaskFailure,
    each,
    reason_of,
    run,
)
from flamepy._version import __version__

__all__ = ["BROKEN", "PICKLED", "Call", "Whole", "Work", "Worker", "python_version"]

BROKEN = "The worker cannot serve: "
PICKLED = "\n\npickled: "
"""Before the exception itself in a reason, where it fits."""
_PICKLED_BYTES_MAX = 2048


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
        return cls(*msgpack.unpackb(data))


class Call:
    """Arguments with keywords; without, they travel as a plain tuple."""

    __slots__ = ("arguments", "keywords")

    def __init__(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self.arguments = arguments
        self.keywords = keywords


class Whole:
    """A call that brings its function along."""

    __slots__ = ("arguments", "function", "keywords")

    def __init__(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> None:
        self.function = function
        self.arguments = arguments
        self.keywords = keywords


class Worker(FlameService):
    def __init__(self) -> None:
        self._session = ""
        self._pickled: list[bytes] = []
        self._functions: dict[int, Callable[..., Any]] = {}
        self._broken = ""

    def on_session_enter(self, context: SessionContext) -> None:
        """Also whenever the session has a new function."""
        again, self._session = self._session == context.session_id, context.session_id
        if again and self._broken:
            return
        self._broken = ""
        try:
            self._enter(Work.unpack(context.common_data() or b""), again)
        except Exception as error:
            self._broken = BROKEN + reason_of(error, reserve=len(BROKEN))

    def _enter(self, work: Work, again: bool) -> None:
        if again:
            self._pickled = work.functions
            return
        theirs, ours = (work.flamepy, work.python), (__version__, python_version())
        if theirs != ours:
            raise RuntimeError(
                "the client has flamepy {} with Python {}, this executor flamepy {} with "
                "Python {}; install the same here".format(*theirs, *ours)
            )
        sys.path.extend(entry for entry in work.path if entry not in sys.path)
        self._pickled, self._functions = work.functions, {}
        initializer, arguments = pickle.loads(work.initializer)
        if initializer is not None:
            initializer(*arguments)

    def on_batch(self, batch: BatchContext) -> Iterator[Output]:
        if self._broken:
            for _ in batch.inputs:
                yield TaskFailure(self._broken)
            return
        yield from each(batch.first, batch.inputs, self._output_of)

    def _output_of(self, data: bytes) -> Output:
        try:
            call = pickle.loads(data)
            if type(call) is Whole:
                return _dumps(call.function(*call.arguments, **call.keywords))
            number = 0 if data[-1] == STOP else number_of(data)
            function = self._functions.get(number)
            if function is None:
                function = self._functions[number] = pickle.loads(self._pickled[number])
            if type(call) is tuple:
                return _dumps(function(*call))
            return _dumps(function(*call.arguments, **call.keywords))
        except TaskCancelled:
            raise
        except BaseException as error:
            return TaskFailure(_reason_with(error))


def _dumps(value: Any) -> bytes:
    try:
        return pickle.dumps(value, 5)
    except Exception:  # of a class of the client's main module, for example
        return cast(bytes, cloudpickle.dumps(value, 5))


def _reason_with(error: BaseException) -> str:
    """The text, and the exception itself where it is small enough to go along."""
    try:
        pickled = base64.b64encode(_dumps(error)).decode()
    except Exception:
        return reason_of(error)
    if len(pickled) > _PICKLED_BYTES_MAX:
        return reason_of(error)
    text = reason_of(error, reserve=len(PICKLED) + len(pickled))
    whole = text + PICKLED + pickled
    return whole if len(whole.encode("utf-8", "replace")) <= limits.REASON_BYTES_MAX else text


if __name__ == "__main__":
    # As the module that the client names too, so that both mean the same classes.
    from flamepy import worker

    run(worker.Worker())
